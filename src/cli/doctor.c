#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/help.h"
#include "cli/output.h"
#include "cli/term.h"
#include "core/mem.h"

enum { REPORT_BYTES_MAX = 1 << 20, NAME_COLUMN = 10, TEXT_COLUMN = 28 };

#define LATER "nothing yet: a later version "

static const struct check checks[] = {
	{"daemon", doctor_daemon, "every command but init, doctor and help",
	 "start one with 'soma serve', or name it with --admin URL or "
	 "SOMA_ADMIN"},
	{"data directory", doctor_data, "all that a daemon keeps",
	 "give Soma a directory of its own: soma serve --data DIR"},
	{"disk space", doctor_space, "projects, environments and models",
	 "make room, or choose another disk: soma serve --data DIR"},
	{"api address", doctor_listen, "the requests to apis",
	 "stop the program that has it, or choose another: soma serve "
	 "--listen HOST:PORT"},
	{"admin address", doctor_admin, "the commands of this program",
	 "stop the program that has it, or choose another: soma serve "
	 "--admin HOST:PORT"},
	{"kernel", doctor_kernel, "everything", "run Linux 5.9 or newer"},
	{"users", doctor_users, "keeping apis off each other's files",
	 "run 'soma serve' as root"},
	{"control groups", doctor_cgroups,
	 "memory limits, and ending all that a replica started",
	 "run 'soma serve' as root, or as a systemd service with "
	 "Delegate=yes"},
	{"mount namespaces", doctor_namespaces,
	 "data directories behind a folder that only root may enter",
	 "run 'soma serve' as root; in a container, with CAP_SYS_ADMIN"},
	{"seccomp", doctor_seccomp, LATER "narrows what replicas may call", ""},
	{"landlock", doctor_landlock, LATER "narrows which files they see", ""},
	{"processors", doctor_processors, "replicas", ""},
	{"memory", doctor_memory, "replicas and their models",
	 "end what is not needed, or use a larger machine"},
	{"open files", doctor_files, "connections: two for each request",
	 "raise the limit: 'ulimit -Hn 65536', or LimitNOFILE= of the "
	 "service"},
	{"clock", doctor_clock, "TLS, and signed downloads from S3",
	 "let it be set by a time service (chrony, systemd-timesyncd)"},
	{"python", doctor_python, "python predictors",
	 "install one (apt install python3 python3-venv), or name it with "
	 "predictor.python"},
	{"python venv", doctor_venv, "environments from requirements.txt",
	 "apt install python3-venv, or install uv"},
	{"uv", doctor_uv, "building environments faster; pip does it as well",
	 ""},
	{"onnx runtime", doctor_onnx, "onnx predictors",
	 "put libonnxruntime.so of ONNX Runtime 1.16 or newer (the Python "
	 "package onnxruntime has it, in its folder capi) into lib/ of the "
	 "data directory, or name it with SOMA_ONNXRUNTIME"},
	{"nvidia gpus", doctor_nvidia, LATER "hands them to apis", ""},
	{"aws neuron", doctor_neuron, LATER "hands them to apis", ""},
	{"google tpus", doctor_tpu, LATER "hands them to apis", ""},
};

static const struct {
	const char *word, *colour;
} states[] = {
	[DOCTOR_OK] = {"ok", "\033[32m"},
	[DOCTOR_NONE] = {"none", ""},
	[DOCTOR_WARNING] = {"warning", "\033[33m"},
	[DOCTOR_MISSING] = {"missing", "\033[31m"},
};

struct counts {
	size_t warnings, missing;
};

__attribute__((format(printf, 3, 0))) static void
add(struct finding *f, size_t at, const char *fmt, va_list args)
{
	vsnprintf(f->text + at, sizeof f->text - at, fmt, args);
}

void finding_set(struct finding *f, enum doctor_state state, const char *fmt,
		 ...)
{
	va_list args;

	f->state = state;
	va_start(args, fmt);
	add(f, 0, fmt, args);
	va_end(args);
}

void finding_add(struct finding *f, const char *fmt, ...)
{
	size_t at = strlen(f->text);
	va_list args;

	if (at > 0)
		at += (size_t)snprintf(f->text + at, sizeof f->text - at, ", ");
	if (at >= sizeof f->text)
		return;
	va_start(args, fmt);
	add(f, at, fmt, args);
	va_end(args);
}

static const char *remedy_of(const struct check *c, const struct finding *f)
{
	if (f->state != DOCTOR_WARNING && f->state != DOCTOR_MISSING)
		return "";
	return *f->remedy ? f->remedy : c->remedy;
}

static void spaces(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_addc(out, ' ');
}

static void add_row(struct buf *out, const struct check *c,
		    const struct finding *f, bool colours, size_t width)
{
	const char *word = states[f->state].word;
	const char *colour = colours ? states[f->state].colour : "";
	const char *remedy = remedy_of(c, f);

	buf_addf(out, "%s%s%s", colour, word, *colour ? "\033[0m" : "");
	spaces(out, NAME_COLUMN - strlen(word));
	buf_adds(out, c->name);
	spaces(out, TEXT_COLUMN - NAME_COLUMN - strlen(c->name));
	help_wrap(out, f->text, TEXT_COLUMN, width);
	buf_addc(out, '\n');
	if (*remedy) {
		cleanup_free char *text =
			mem_printf("for %s; remedy: %s", c->use, remedy);

		spaces(out, TEXT_COLUMN);
		help_wrap(out, text, TEXT_COLUMN, width);
		buf_addc(out, '\n');
	}
}

static void print_table(const struct finding *found, struct counts n)
{
	bool colours = term_colours(1);
	struct buf out;

	buf_init(&out, REPORT_BYTES_MAX);
	for (size_t i = 0; i < ARRAY_LEN(checks); i++)
		add_row(&out, &checks[i], &found[i], colours,
			help_width(term_width()));
	if (n.missing + n.warnings == 0)
		buf_adds(&out, "\nnothing is missing\n");
	else
		buf_addf(&out, "\n%zu missing, %zu warning%s\n", n.missing,
			 n.warnings, n.warnings == 1 ? "" : "s");
	fwrite(out.data, 1, out.len, stdout);
	buf_fini(&out);
}

static void print_document(enum output output, const struct finding *found,
			   struct counts n)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	cleanup_json yyjson_doc *fixed = NULL;
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_bool(doc, root, "ok", n.missing == 0);
	yyjson_mut_obj_add_uint(doc, root, "missing", n.missing);
	yyjson_mut_obj_add_uint(doc, root, "warnings", n.warnings);
	list = yyjson_mut_obj_add_arr(doc, root, "checks");
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		const char *remedy = remedy_of(&checks[i], &found[i]);
		yyjson_mut_val *row = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, row, "name", checks[i].name);
		yyjson_mut_obj_add_str(doc, row, "state",
				       states[found[i].state].word);
		yyjson_mut_obj_add_str(doc, row, "found", found[i].text);
		yyjson_mut_obj_add_str(doc, row, "for", checks[i].use);
		if (*remedy)
			yyjson_mut_obj_add_str(doc, row, "remedy", remedy);
		else
			yyjson_mut_obj_add_null(doc, row, "remedy");
	}
	fixed = yyjson_mut_doc_imut_copy(doc, NULL);
	output_print(output, yyjson_doc_get_root(fixed));
}

static char *default_dir(const struct args *a)
{
	const char *given = args_value(a, "data");
	const char *env = getenv("SOMA_DATA"), *home = getenv("HOME");

	if (given || (env && *env))
		return mem_strdup(given ? given : env);
	if (geteuid() == 0)
		return mem_strdup("/var/lib/soma");
	return mem_printf("%s/.local/share/soma", home ? home : "/tmp");
}

int cmd_doctor(const struct args *a)
{
	struct finding found[ARRAY_LEN(checks)] = {0};
	struct counts n = {0};
	struct doctor d = {0};
	enum output output;
	int rc = output_read(a, &output);

	if (rc == CLI_OK)
		rc = admin_open(&d.ad, a);
	if (rc != CLI_OK)
		return rc;
	d.data_dir = default_dir(a);
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		checks[i].fn(&d, &found[i]);
		n.warnings += found[i].state == DOCTOR_WARNING;
		n.missing += found[i].state == DOCTOR_MISSING;
	}
	if (output == OUTPUT_TABLE)
		print_table(found, n);
	else
		print_document(output, found, n);
	admin_close(&d.ad);
	free(d.data_dir);
	free(d.data_url);
	free(d.python);
	return n.missing > 0 ? CLI_FAILED : CLI_OK;
}
