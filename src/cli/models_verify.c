/* models_verify.c: `soma models verify`: what was fetched is read again. */
#include <stdlib.h>
#include <string.h>

#include "cli/models.h"
#include "cli/term.h"
#include "core/mem.h"
#include "spec/source.h"

static void print_verified(yyjson_val *root)
{
	yyjson_val *model;
	size_t i, n;
	char text[32];

	yyjson_arr_foreach(yyjson_obj_get(root, "models"), i, n, model)
	{
		const char *bad = json_str(model, "bad", NULL);
		cleanup_free char *url =
			source_shown(json_str(model, "url", "-"));

		if (bad)
			term_fail(0,
				  "%s: %s is not what was fetched; 'soma "
				  "models pull %s' fetches it again",
				  url, bad, url);
		else
			printf("%s: whole, %s\n", url,
			       str_human_bytes(
				       (uint64_t)json_int(model, "bytes", 0),
				       text));
	}
}

static bool is_end(const char *state)
{
	return strcmp(state, "verifying") != 0;
}

static int tell_end(const struct models_progress *v, enum output output)
{
	cleanup_json_mut yyjson_mut_doc *doc =
		yyjson_doc_mut_copy(v->last, NULL);
	yyjson_val *root = yyjson_doc_get_root(v->last);
	cleanup_json yyjson_doc *shown = NULL;
	const char *message = json_str(root, "message", NULL);

	if (message)
		return term_fail(CLI_FAILED, "%s", message);
	yyjson_mut_obj_remove_key(yyjson_mut_doc_get_root(doc), "state");
	shown = yyjson_mut_doc_imut_copy(doc, NULL);
	if (output != OUTPUT_TABLE)
		output_print(output, yyjson_doc_get_root(shown));
	else
		print_verified(root);
	return json_bool(root, "whole", false) ? CLI_OK : CLI_FAILED;
}

int models__verify(struct admin *ad, const char *url, enum output output)
{
	cleanup_free char *body = models__body(url);
	cleanup_free char *shown = url ? source_shown(url) : NULL;
	struct models_progress v = {.what = shown ? shown : "all models",
				    .is_end = is_end};
	int rc = models__follow(&v, ad, "/v1/models/verify?progress=true", body,
				output, "verify again");

	if (rc == CLI_OK) {
		display_settle(&v.d);
		rc = tell_end(&v, output);
	}
	yyjson_doc_free(v.last);
	return rc;
}
