/* xml.h: a strict reader of the small XML that S3 answers with: elements and
 * text. What it does not know it refuses: document types, CDATA, entities of
 * one's own. */
#ifndef FETCH_XML_H
#define FETCH_XML_H

#include <stdbool.h>

#include "core/arena.h"
#include "core/str.h"

struct xml {
	const char *p, *end;
	struct arena *arena; /* texts are made in it */
	bool closing;	     /* the last was <Name/>: its end comes next */
	struct str name;     /* of the last element */
};

enum xml_kind { XML_OPEN, XML_CLOSE, XML_TEXT, XML_END, XML_BAD };

void xml_init(struct xml *x, const char *text, size_t len, struct arena *arena);
/* Name of an element, without a prefix, or a text with its entities undone. A
 * text that is blank is passed over. That ends match is the caller's matter. */
enum xml_kind xml_next(struct xml *x, struct str *ret);

#endif
