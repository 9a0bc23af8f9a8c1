/* soma schema: the keys of a config file, for editors; and for docs/config.md.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "core/mem.h"
#include "spec/document.h"

enum { TABLES_MAX = 4 << 20 };

static int print_tables(void)
{
	struct buf b;

	buf_init(&b, TABLES_MAX);
	document_tables(&b);
	fputs(buf_cstr(&b), stdout);
	buf_fini(&b);
	return CLI_OK;
}

int cmd_schema(const struct args *a)
{
	cleanup_free char *text = NULL;

	if (args_has(a, "markdown"))
		return print_tables();
	text = document_schema();
	puts(text);
	return CLI_OK;
}
