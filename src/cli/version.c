#include "cli/admin.h"
#include "cli/output.h"
#include "cli/term.h"

static void print_text(const struct admin *ad, yyjson_val *info)
{
	char up[32];

	puts("cli:      " SOMA_VERSION);
	if (!info) {
		printf("daemon:   none answers at %s\n", ad->url);
		return;
	}
	printf("daemon:   %s (pid %lld, up %s, %s)\n",
	       json_str(info, "version", "?"),
	       (long long)json_int(info, "pid", 0),
	       term_age(json_int(info, "uptime_ms", -1), up), ad->url);
	printf("data:     %s\n", json_str(info, "data_dir", "?"));
}

static void print_document(enum output output, yyjson_val *info)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	cleanup_json yyjson_doc *fixed = NULL;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "cli", SOMA_VERSION);
	if (info)
		yyjson_mut_obj_add_val(doc, root, "daemon",
				       yyjson_val_mut_copy(doc, info));
	else
		yyjson_mut_obj_add_null(doc, root, "daemon");
	fixed = yyjson_mut_doc_imut_copy(doc, NULL);
	output_print(output, yyjson_doc_get_root(fixed));
}

int cmd_version(const struct args *a)
{
	struct answer an;
	struct admin ad;
	enum output output;
	bool answered;
	int rc = output_read(a, &output);

	if (rc == CLI_OK)
		rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	/* Without a daemon this is no failure: nothing is printed of it. */
	answered = admin_try(&ad, "GET", "/v1/info", NULL, &an) == CURLE_OK &&
		   an.status == 200;
	if (output != OUTPUT_TABLE)
		print_document(output, answered ? answer_root(&an) : NULL);
	else
		print_text(&ad, answered ? answer_root(&an) : NULL);
	answer_fini(&an);
	admin_close(&ad);
	return CLI_OK;
}
