#include <stdlib.h>
#include <string.h>

#include "cli/bundle.h"
#include "cli/deploy.h"
#include "cli/display.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/term.h"
#include "cli/upload.h"
#include "core/mem.h"

struct deploy {
	struct admin ad;
	struct bundle bundle;
	struct display display;
	const char *path; /* of the admin API */
	bool patch;	  /* the config alone: the project stays */
	bool force, wait, watches;
	enum output output;
	int64_t timeout_ms; /* 0: none */

	struct body request;
	char *request_text;	   /* owned */
	struct progress *rollouts; /* owned */
	size_t n;
	char *problems; /* owned; JSON array, or NULL */
};

static int read_flags(struct deploy *d, const struct args *a)
{
	const char *timeout = args_value(a, "timeout");
	int rc = output_read(a, &d->output);

	if (rc != CLI_OK)
		return rc;
	if (timeout &&
	    (!str_duration_ms(timeout, &d->timeout_ms) || d->timeout_ms == 0))
		return term_fail(CLI_USAGE,
				 "--timeout is a time such as \"90s\" or "
				 "\"10m\", not '%s'",
				 timeout);
	d->force = args_has(a, "force");
	d->wait = !args_has(a, "no-wait");
	d->watches = !args_has(a, "no-watch");
	return CLI_OK;
}

/* Each once, though both the plan and the deploy tell them. */
static void print_problems(struct deploy *d, yyjson_val *root)
{
	yyjson_val *problems = yyjson_obj_get(root, "problems"), *p;
	size_t i, n;

	if (d->problems || yyjson_arr_size(problems) == 0)
		return;
	d->problems = json_write_val(problems, NULL);
	yyjson_arr_foreach(problems, i, n, p)
	{
		const char *shown =
			json_str(p, "shown", json_str(p, "text", "?"));

		if (strcmp(json_str(p, "level", "error"), "warning") == 0)
			term_warn("%s", shown);
		else
			term_fail(0, "%s", shown);
	}
}

/* A file with errors: told all at once. */
static int config_refused(struct deploy *d, const struct answer *an)
{
	yyjson_val *root = answer_root(an);

	if (yyjson_arr_size(yyjson_obj_get(root, "problems")) == 0)
		admin_refused(&d->ad, an);
	print_problems(d, root);
	if (d->output != OUTPUT_TABLE && root)
		output_print(d->output, root);
	return CLI_CONFIG;
}

static int plan(struct deploy *d)
{
	struct answer an;
	int rc = admin_request(&d->ad, "POST", "/v1/plan", &d->request, &an);

	if (rc != CLI_OK)
		return rc;
	if (an.status == 422) {
		rc = config_refused(d, &an);
	} else if (an.status != 200) {
		rc = admin_refused(&d->ad, &an);
	} else {
		print_problems(d, answer_root(&an));
		rc = upload_missing(&d->ad, &d->bundle,
				    yyjson_obj_get(answer_root(&an), "missing"),
				    &d->display);
	}
	answer_fini(&an);
	return rc;
}

static void take_rollouts(struct deploy *d, yyjson_val *apis)
{
	yyjson_val *api;
	size_t i, n;

	d->rollouts = mem_alloc(yyjson_arr_size(apis) * sizeof *d->rollouts);
	yyjson_arr_foreach(apis, i, n, api)
	{
		struct progress *r = &d->rollouts[d->n++];
		bool is_new;

		progress_init(r, api);
		is_new = strcmp(r->change, "created") == 0;
		if (strcmp(r->change, "unchanged") == 0)
			display_say(&d->display, "%s is up to date", r->name);
		else
			display_say(&d->display, "%s %s (%s)",
				    is_new ? "creating" : "updating", r->name,
				    r->kind);
	}
}

static int send_deploy(struct deploy *d, bool again)
{
	struct answer an;
	yyjson_val *root, *missing;
	int rc = admin_request(&d->ad, "POST", d->path, &d->request, &an);

	if (rc != CLI_OK)
		return rc;
	root = answer_root(&an);
	missing = yyjson_obj_get(root, "missing");
	if (an.status == 200) {
		print_problems(d, root);
		take_rollouts(d, yyjson_obj_get(root, "apis"));
	} else if (an.status == 422) {
		rc = config_refused(d, &an);
	} else if (an.status == 409 && yyjson_is_arr(missing) && !again) {
		/* Collected as unused between the plan and now. */
		rc = upload_missing(&d->ad, &d->bundle, missing, &d->display);
		if (rc == CLI_OK)
			rc = send_deploy(d, true);
	} else {
		rc = admin_refused(&d->ad, &an);
	}
	answer_fini(&an);
	return rc;
}

static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key,
		     const char *text)
{
	if (text)
		yyjson_mut_obj_add_str(doc, obj, key, text);
	else
		yyjson_mut_obj_add_null(doc, obj, key);
}

static void add_parsed(yyjson_mut_doc *doc, yyjson_mut_val *obj,
		       const char *key, const char *json)
{
	cleanup_json yyjson_doc *parsed = NULL;

	if (json)
		parsed = yyjson_read(json, strlen(json), 0);
	yyjson_mut_obj_add_val(
		doc, obj, key,
		parsed ? yyjson_val_mut_copy(doc, yyjson_doc_get_root(parsed))
		       : yyjson_mut_arr(doc));
}

static void print_document(const struct deploy *d)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	cleanup_json yyjson_doc *fixed = NULL;
	yyjson_mut_val *root = yyjson_mut_obj(doc), *apis;

	yyjson_mut_doc_set_root(doc, root);
	apis = yyjson_mut_obj_add_arr(doc, root, "apis");
	for (size_t i = 0; i < d->n; i++) {
		const struct progress *r = &d->rollouts[i];
		yyjson_mut_val *api = yyjson_mut_arr_add_obj(doc, apis);

		add_text(doc, api, "name", r->name);
		add_text(doc, api, "kind", r->kind);
		yyjson_mut_obj_add_sint(doc, api, "revision", r->revision);
		add_text(doc, api, "change", r->change);
		add_text(doc, api, "url", r->url);
		add_text(doc, api, "status", progress_word(r));
		add_text(doc, api, "message", r->cause);
		add_parsed(doc, api, "log", r->log);
		add_text(doc, api, "sample", r->sample);
	}
	add_parsed(doc, root, "problems", d->problems);
	fixed = yyjson_mut_doc_imut_copy(doc, NULL);
	output_print(d->output, yyjson_doc_get_root(fixed));
}

static int report(struct deploy *d, int rc)
{
	const struct progress *failed = NULL;
	bool any_live = false;

	for (size_t i = 0; i < d->n; i++) {
		struct progress *r = &d->rollouts[i];

		any_live |= r->state == PROGRESS_LIVE;
		display_result(&d->display, r);
		if (!failed && r->state == PROGRESS_FAILED)
			failed = r;
	}
	if (failed)
		rc = CLI_FAILED;
	if (d->output != OUTPUT_TABLE)
		print_document(d);
	else if (failed && failed->serves)
		fprintf(stderr,
			"revision %lld of %s goes on serving; 'soma logs %s' "
			"shows more\n",
			(long long)failed->serves, failed->name, failed->name);
	else if (failed && failed->over)
		fprintf(stderr, "'soma history %s' shows what became of it\n",
			failed->name);
	else if (failed)
		fprintf(stderr,
			"Soma keeps trying; 'soma logs %s' shows more, 'soma "
			"delete %s' ends it\n",
			failed->name, failed->name);
	else if (any_live)
		puts("\nsoma get          show all apis\n"
		     "soma logs API     show what an api prints");
	return rc;
}

/* Follows what was asked for, and says how it ended. */
static int see_through(struct deploy *d)
{
	int rc = CLI_OK;

	if (d->wait)
		rc = follow_rollouts(&d->ad, d->rollouts, d->n, d->timeout_ms,
				     d->watches, &d->display);
	return report(d, rc);
}

static int run(struct deploy *d)
{
	struct err err = {0};
	char size[32];
	int rc = CLI_OK;

	d->request_text =
		upload_request(&d->bundle, d->force, &d->request.len, &err);
	if (!d->request_text)
		return term_fail(CLI_CONFIG, "%s", err.msg);
	d->request.data = d->request_text;
	if (!d->patch) {
		display_say(&d->display, "%s: %s, %zu file%s, %s",
			    d->bundle.model ? "model" : "project",
			    d->bundle.model ? d->bundle.model : d->bundle.dir,
			    d->bundle.n_files,
			    d->bundle.n_files == 1 ? "" : "s",
			    str_human_bytes(d->bundle.bytes, size));
		rc = plan(d);
	}
	if (rc == CLI_OK)
		rc = send_deploy(d, false);
	if (rc != CLI_OK)
		return rc;
	return see_through(d);
}

static void fini(struct deploy *d)
{
	for (size_t i = 0; i < d->n; i++)
		progress_fini(&d->rollouts[i]);
	free(d->rollouts);
	free(d->problems);
	free(d->request_text);
	bundle_fini(&d->bundle);
	admin_close(&d->ad);
}

int deploy_anew(const struct args *a, const char *path, const struct body *body)
{
	struct deploy d = {0};
	struct answer an;
	int rc = read_flags(&d, a);

	if (rc != CLI_OK)
		return rc;
	display_init(&d.display, d.output != OUTPUT_TABLE);
	rc = admin_open(&d.ad, a);
	if (rc != CLI_OK)
		return rc;
	rc = admin_call(&d.ad, "POST", path, body, &an);
	if (rc == CLI_OK) {
		d.rollouts = mem_alloc(sizeof *d.rollouts);
		progress_init(&d.rollouts[d.n++], answer_root(&an));
		display_say(&d.display, "%s",
			    json_str(answer_root(&an), "message", ""));
		answer_fini(&an);
		rc = see_through(&d);
	}
	fini(&d);
	return rc;
}

static int deploy(const struct args *a, bool patch)
{
	struct deploy d = {
		.path = patch ? "/v1/patch" : "/v1/deploy",
		.patch = patch,
	};
	const char *path = args_word(a, 0);
	struct err err = {0};
	int rc = read_flags(&d, a);

	if (rc != CLI_OK)
		return rc;
	display_init(&d.display, d.output != OUTPUT_TABLE);
	rc = admin_open(&d.ad, a);
	if (rc != CLI_OK)
		return rc;
	if ((patch ? bundle_config(&d.bundle, path, &err)
		   : bundle_make(&d.bundle, path, &err)) != 0)
		rc = term_fail(CLI_USAGE, "%s", err.msg);
	else
		rc = run(&d);
	fini(&d);
	return rc;
}

int cmd_deploy(const struct args *a)
{
	return deploy(a, false);
}

int cmd_patch(const struct args *a)
{
	return deploy(a, true);
}
