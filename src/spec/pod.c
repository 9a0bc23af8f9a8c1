/*
 * Cortex's pod: its one container, whose program is run on this machine, as
 * the command that it then is. Its scalars were read into predictor's fields
 * by their rows; here is what takes more than a row. Nothing behind src/spec
 * knows of pods.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "spec/keys.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define C "pod.containers[]."

/* pod.port and pod.max_queue_length, where they are not given. */
enum { PORT = 8080, QUEUE = 100 };

static int64_t int_of(struct node *pod, const char *key, int64_t fallback)
{
	struct node *n = rules__good(pod, key);
	int64_t v;

	return n && node_int(n, &v) ? v : fallback;
}

static struct node *given(const struct node *map, const char *key)
{
	struct node *n = node_get(map, key);

	return n && !node_is_null(n) ? n : NULL;
}

/* Whether text has the number as a word: "8080", "--bind=:8080". */
static bool has_number(const char *text, int64_t number)
{
	char digits[24];
	const char *at = text;
	size_t n = (size_t)snprintf(digits, sizeof digits, "%lld",
				    (long long)number);

	while ((at = strstr(at, digits))) {
		bool begins = at == text || !isalnum((unsigned char)at[-1]);

		if (begins && !isalnum((unsigned char)at[n]))
			return true;
		at += n;
	}
	return false;
}

static void add_words(struct reader *r, struct node *pod, struct node *list,
		      const char *path, struct spec *spec)
{
	int64_t port = int_of(pod, "port", PORT);

	for (uint32_t i = 0; i < list->n; i++) {
		struct node *n = list->items[i];

		if (has_number(n->text, port))
			problem_warn(r, n, path,
				     "%s looks like pod.port: the program gets "
				     "another port here, so that replicas can "
				     "run side by side; write $(CORTEX_PORT), "
				     "which Cortex knows, too",
				     problem_quote(r, n->text));
		spec->predictor.command[spec->predictor.n_command++] = n->text;
	}
}

static void read_command(struct reader *r, struct node *pod, struct node *c,
			 struct spec *spec)
{
	struct node *command = given(c, "command"), *args = given(c, "args");

	if (!command) {
		problem_error(r, c, C "command",
			      "required here, because the program of an image "
			      "cannot be known; for example 'command: "
			      "[uvicorn, main:app, --port, $(CORTEX_PORT)]'");
		return;
	}
	if (command->bad || (args && args->bad) || r->set->n_errors)
		return; /* items, too, are good from here on */
	spec->predictor.command = arena_zalloc(
		&r->set->arena, ((size_t)command->n + (args ? args->n : 0)) *
					sizeof *spec->predictor.command);
	add_words(r, pod, command, C "command", spec);
	if (args)
		add_words(r, pod, args, C "args", spec);
	if (!*spec->predictor.command[0])
		problem_error(r, command, C "command",
			      "there is no program in it");
}

/* Exactly one of the ways, and at the port that requests go to. */
static void check_probe(struct reader *r, struct node *pod, struct node *c,
			const char *name)
{
	static const char *const ways[] = {"http_get", "tcp_socket", "exec"};
	struct node *probe = given(c, name), *port;
	const char *path = arena_printf(&r->set->arena, C "%s", name);
	uint32_t n = 0;
	int64_t v;

	if (!probe || probe->bad || probe->type != NODE_MAP)
		return;
	for (uint32_t i = 0; i < probe->n; i++)
		if (probe->pairs[i].key->bad)
			return; /* it may be the one that is missing */
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		n += given(probe, ways[i]) != NULL;
	if (n != 1) {
		problem_error(r, probe, path,
			      strcmp(name, "pre_stop") == 0
				      ? "give exactly one of http_get and exec"
				      : "give exactly one of http_get, "
					"tcp_socket and exec");
		return;
	}
	if (strcmp(name, "readiness_probe") != 0)
		return;
	for (size_t i = 0; i < 2; i++) {
		port = given(given(probe, ways[i]), "port");
		if (port && !port->bad && node_int(port, &v) &&
		    v != int_of(pod, "port", PORT))
			problem_error(r, port, path,
				      "asks at port %lld, but only pod.port, "
				      "%lld, is known to Soma: use that, or "
				      "remove the probe",
				      (long long)v,
				      (long long)int_of(pod, "port", PORT));
	}
}

static void fill_readiness(struct node *c, struct spec *spec)
{
	struct node *get = given(given(c, "readiness_probe"), "http_get");
	struct node *path = given(get, "path");

	if (get && get->type == NODE_MAP)
		spec->predictor.readiness_path = path ? path->text : "/";
}

/* The api's own compute is of files before 0.36. */
static void check_compute(struct reader *r, struct node *api, struct node *c)
{
	static const char *const keys[] = {"cpu", "mem"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct node *n = given(given(api, "compute"), keys[i]);

		if (n && given(given(c, "compute"), keys[i]))
			problem_error(r, n,
				      arena_printf(&r->set->arena, "compute.%s",
						   keys[i]),
				      "is given in the container, too: remove "
				      "one of them");
	}
}

static void fill_queue(struct reader *r, struct node *api, struct node *pod,
		       struct spec *spec)
{
	static const char most_key[] = "autoscaling.max_replica_concurrency";
	static const char target_key[] = "autoscaling.target_in_flight";
	struct node *most = rules__good(api, most_key);
	struct node *target = rules__good(api, target_key);
	int64_t at_once = int_of(pod, "max_concurrency", 1);
	int64_t held = at_once + int_of(pod, "max_queue_length", QUEUE);
	double v;

	if (most)
		problem_error(r, most, most_key,
			      "is not for pods: give pod.max_queue_length");
	if (target && node_float(target, &v) && v > (double)held)
		problem_error(r, target, target_key,
			      "%g is more than pod.max_concurrency and "
			      "pod.max_queue_length together, %lld",
			      v, (long long)held);
	spec->predictor.max_concurrency = (uint32_t)at_once;
	spec->scale.max_replica_concurrency = (uint32_t)held;
}

void rules__pod(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *pod = node_get(api, "pod");
	struct node *list = given(pod, "containers"), *c;

	if (!pod || pod->type != NODE_MAP || pod->bad)
		return;
	fill_queue(r, api, pod, spec);
	if (!list || list->type != NODE_LIST || list->bad)
		return;
	if (list->n > 1) {
		problem_error(r, list->items[1], "pod.containers",
			      "several containers of one replica are not run "
			      "by this version of Soma: make each an api of "
			      "its own, or start them all by one command");
		return;
	}
	c = list->items[0];
	if (c->type != NODE_MAP || c->bad)
		return;
	check_probe(r, pod, c, "readiness_probe");
	check_probe(r, pod, c, "liveness_probe");
	check_probe(r, pod, c, "pre_stop");
	check_compute(r, api, c);
	fill_readiness(c, spec);
	read_command(r, pod, c, spec);
}
