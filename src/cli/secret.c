#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/output.h"
#include "cli/term.h"
#include "core/mem.h"

enum { SECRET_BYTES_MAX = 1 << 20 };

/* Only so that reading ends, and the terminal echoes again. */
static void on_interrupt(int number)
{
	(void)number;
}

static char *prompt(const char *name, struct err *err)
{
	struct sigaction act = {.sa_handler = on_interrupt}, old;
	FILE *tty = fopen("/dev/tty", "r+e");
	struct termios was, quiet;
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (!tty) {
		err_sys(err, errno, "cannot ask for the value on the terminal");
		return NULL;
	}
	fprintf(tty, "value of %s: ", name);
	fflush(tty);
	sigaction(SIGINT, &act, &old); /* no SA_RESTART */
	tcgetattr(fileno(tty), &was);
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
	n = getline(&line, &room, tty);
	tcsetattr(fileno(tty), TCSAFLUSH, &was);
	sigaction(SIGINT, &old, NULL);
	fputc('\n', tty);
	fclose(tty);
	if (n < 0) {
		err_set(err, E_INVALID, "no value was given");
		free(line);
		return NULL;
	}
	return line;
}

/* One line end goes: `echo value | soma secret set name -` means the value. */
static void strip_line_end(char *text)
{
	size_t len = strlen(text);

	if (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	if (len > 0 && text[len - 1] == '\r')
		text[--len] = '\0';
}

static char *read_value(const char *name, const char *given, struct err *err)
{
	char *text = NULL;
	size_t len;

	if (given && strcmp(given, "-") != 0)
		return mem_strdup(given);
	if (!given && term_is_tty(0))
		text = prompt(name, err);
	else if (cli_read(stdin, "standard input", SECRET_BYTES_MAX, &text,
			  &len, err) == 0 &&
		 strlen(text) != len) {
		err_set(err, E_INVALID, "a secret is text: it has no NUL byte");
		free(mem_take(&text));
	}
	if (text)
		strip_line_end(text);
	return text;
}

static int set(const struct args *a, struct admin *ad)
{
	const char *name = args_word(a, 1);
	cleanup_free char *path = NULL, *value = NULL, *text = NULL;
	cleanup_json_mut yyjson_mut_doc *doc = NULL;
	struct body body = {0};
	struct answer an;
	struct err err = {0};
	int rc;

	if (!name)
		return term_fail(CLI_USAGE, "a name is missing; usage: soma "
					    "secret set NAME [VALUE|-]");
	value = read_value(name, args_word(a, 2), &err);
	if (!value)
		return term_fail(CLI_USAGE, "%s", err.msg);
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_str(doc, yyjson_mut_doc_get_root(doc), "value",
			       value);
	text = yyjson_mut_write(doc, 0, &body.len);
	if (!text)
		return term_fail(CLI_USAGE, "a secret is text: it must be "
					    "UTF-8");
	body.data = text;
	path = admin_path("secrets", name, "");
	rc = admin_call(ad, "PUT", path, &body, &an);
	if (rc == CLI_OK) {
		puts(json_str(answer_root(&an), "message", "done"));
		answer_fini(&an);
	}
	return rc;
}

static void print_list(yyjson_val *list)
{
	static const char *const header[] = {"secret", "last update"};
	struct table t;
	size_t i, n;
	yyjson_val *item;
	char age[32];

	if (yyjson_arr_size(list) == 0) {
		puts("no secrets are set; 'soma secret set NAME' sets one");
		return;
	}
	table_init(&t, ARRAY_LEN(header), header);
	yyjson_arr_foreach(list, i, n, item)
	{
		int64_t at = term_parse_time(json_str(item, "updated", NULL));

		table_cell(&t, "%s", json_str(item, "name", "?"));
		table_cell(&t, "%s",
			   term_age(at < 0 ? -1 : MAX(0, term_wall_ms() - at),
				    age));
	}
	table_print(&t);
	table_fini(&t);
}

static int list(struct admin *ad, enum output output)
{
	struct answer an;
	int rc = admin_call(ad, "GET", "/v1/secrets", NULL, &an);

	if (rc != CLI_OK)
		return rc;
	if (output != OUTPUT_TABLE && an.json)
		output_print(output, answer_root(&an));
	else
		print_list(yyjson_obj_get(answer_root(&an), "secrets"));
	answer_fini(&an);
	return CLI_OK;
}

int cmd_secret(const struct args *a)
{
	const char *verb = args_word(a, 0);
	struct admin ad;
	enum output output;
	int rc = output_read(a, &output);

	if (rc != CLI_OK)
		return rc;
	if (strcmp(verb, "rm") == 0) {
		if (a->n_words != 2)
			return term_fail(CLI_USAGE,
					 "usage: soma secret rm NAME");
		return admin_say(a, "DELETE", "secrets", args_word(a, 1), "");
	}
	rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	if (strcmp(verb, "set") == 0)
		rc = set(a, &ad);
	else if (strcmp(verb, "list") == 0 && a->n_words == 1)
		rc = list(&ad, output);
	else
		rc = term_fail(CLI_USAGE, "usage: soma secret set NAME "
					  "[VALUE|-], soma secret list, or "
					  "soma secret rm NAME");
	admin_close(&ad);
	return rc;
}
