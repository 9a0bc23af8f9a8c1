/* syntax.h: what libyaml says of a broken file, said to its writer. */
#ifndef SPEC_SYNTAX_H
#define SPEC_SYNTAX_H

#include <yaml.h>

#include "spec/problem.h"

/* Reports the error that parser stopped at. */
void syntax_problem(struct reader *r, const yaml_parser_t *parser,
		    const char *text, size_t len);

#endif
