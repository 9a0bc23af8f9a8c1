/* models_pull.c: `soma models pull`: a line that is redrawn while a model
 * comes. */
#include <stdlib.h>
#include <string.h>

#include "cli/models.h"
#include "cli/term.h"
#include "core/mem.h"
#include "spec/source.h"

static bool is_end(const char *state)
{
	return strcmp(state, "ready") == 0 || strcmp(state, "failed") == 0;
}

static int tell_end(struct models_progress *p, enum output output)
{
	yyjson_val *root = yyjson_doc_get_root(p->last);
	const char *message = json_str(root, "message", NULL);
	bool ready = strcmp(json_str(root, "state", ""), "ready") == 0;
	char bytes[32];

	if (output != OUTPUT_TABLE)
		output_print(output, root);
	if (!ready) {
		display_settle(&p->d);
		return term_fail(CLI_FAILED, "%s",
				 message ? message : "no reason was given");
	}
	str_human_bytes((uint64_t)json_int(root, "bytes", 0), bytes);
	if (message)
		term_warn("%s; what is there is of an earlier pull", message);
	display_say(&p->d, "%s is there: %s in %lld file%s", p->what, bytes,
		    (long long)json_int(root, "n_files", 0),
		    json_int(root, "n_files", 0) == 1 ? "" : "s");
	return CLI_OK;
}

int models__pull(struct admin *ad, const char *url, enum output output)
{
	cleanup_free char *body = models__body(url);
	cleanup_free char *shown = source_shown(url);
	struct models_progress p = {.what = shown, .is_end = is_end};
	int rc = models__follow(&p, ad, "/v1/models", body, output,
				"pull again: it goes on where it was");

	if (rc == CLI_OK)
		rc = tell_end(&p, output);
	yyjson_doc_free(p.last);
	return rc;
}
