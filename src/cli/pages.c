#include "cli/pages.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

const struct topic page_topics[] = {
	{"Which daemon",
	 "'--admin URL', else SOMA_ADMIN, else http://127.0.0.1:8002. The "
	 "token is found by itself for a daemon of the same user on this "
	 "machine; otherwise set SOMA_TOKEN to the line in admin.token of the "
	 "daemon's data directory. A token that was found is sent to this "
	 "machine, or to the address its daemon listens on, and nowhere else."},
	{"Output",
	 "'--output json' and '--output yaml' ('-o') print one document and "
	 "nothing else on standard output; 'soma logs' prints one for each "
	 "line. Both say the same. Warnings and errors are on standard error. "
	 "Colours and redrawn displays are for terminals only."},
	{NULL, NULL},
};

const char *page_code_end(const char *text, const char *at)
{
	bool begins = at == text || strchr(" \n(", at[-1]);

	if (!begins || at[1] == '\0' || at[1] == ' ')
		return NULL;
	for (const char *end = at + 1; (end = strchr(end, '\'')); end++)
		if (!isalnum((unsigned char)end[1]))
			return end;
	return NULL;
}
