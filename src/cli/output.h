/* output.h: --output: a table for people, or a document for programs. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "core/json.h"

#include "cli/command.h"

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML };

/* The flag of every command that has it. */
#define OUTPUT_FLAG                                                            \
	{                                                                      \
		"output", 'o', "table|json|yaml",                              \
			"for people, or for programs"                          \
	}

/* CLI_OK, or CLI_USAGE with the reason printed. */
int output_read(const struct args *a, enum output *ret);

/* A whole document on standard output: JSON indented, or YAML. */
void output_print(enum output how, yyjson_val *val);
/* One of many: JSON on a line of its own, or a YAML document of a stream. */
void output_print_item(enum output how, yyjson_val *val);

#endif
