#include "serve/environment.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/mem.h"
#include "core/str.h"
#include "loop/file.h"
#include "loop/log.h"
#include "serve/environ.h"
#include "serve/environment_parts.h"
#include "serve/serve.h"
#include "serve/users.h"

enum { TAIL_LINES = 20 };

void environments_init(struct environments *e, struct serve *serve)
{
	*e = (struct environments){.serve = serve};
	map_init(&e->by_hash);
	e->build_uid = geteuid() == 0 ? USER_BUILD : 0;
}

/* ---- building ---- */

static void start_build(struct environments *e, struct environment *env);

static void environment_free(struct environment *env)
{
	while (!list_empty(&env->tail)) {
		struct feed_line *l =
			LIST_ENTRY(env->tail.next, struct feed_line, link);

		list_remove(&l->link);
		free(l);
	}
	free(env->hash);
	free(env->python);
	free(env->bin);
	free(env->message);
	free(env->dir);
	free(env->base);
	free(env->requirements);
	free(env->shell);
	free(env->project);
	free(env);
}

static void on_line(struct process *p, struct str line, struct str id)
{
	struct environment *env = p->data;
	cleanup_free char *text = mem_strndup(line.p, line.n);
	struct feed_line *l = mem_alloc(sizeof *l + line.n + 1);
	struct list *it, *tmp;

	(void)id;
	memcpy(l->text, text, line.n + 1);
	list_push_back(&env->tail, &l->link);
	if (++env->n_tail > TAIL_LINES) {
		struct feed_line *old =
			LIST_ENTRY(env->tail.next, struct feed_line, link);

		list_remove(&old->link);
		free(old);
		env->n_tail--;
	}
	LIST_EACH (&env->users, it, tmp) {
		struct environment_user *u =
			LIST_ENTRY(it, struct environment_user, link);

		u->on_line(u, text);
	}
}

static void settle(struct environment *env, enum environment_state state)
{
	env->state = state;
	while (!list_empty(&env->users)) {
		struct environment_user *u = LIST_ENTRY(
			env->users.next, struct environment_user, link);

		list_remove(&u->link);
		u->on_settled(u);
	}
}

/* The builder's last word, or the cause of its end. */
static char *failure_text(struct environment *env, const char *cause)
{
	static const char mark[] = "soma-environment: failed: ";

	for (struct list *it = env->tail.prev; it != &env->tail;
	     it = it->prev) {
		struct feed_line *l = LIST_ENTRY(it, struct feed_line, link);

		if (strncmp(l->text, mark, sizeof mark - 1) == 0)
			return mem_strdup(l->text + sizeof mark - 1);
	}
	return mem_printf("the environment's build ended with %s", cause);
}

static void on_process_gone(struct process *p, const char *cause, bool launched)
{
	struct environment *env = p->data;
	cleanup_free char *marker = mem_printf("%s/.complete", env->dir);

	env->process = NULL;
	process_close(p);
	free(env->message);
	env->message = NULL;
	if (env->abandoned && env->refs) {
		/* Somebody came for it meanwhile. */
		env->abandoned = false;
		start_build(env->all, env);
		if (env->state == ENVIRONMENT_FAILED)
			settle(env, ENVIRONMENT_FAILED);
		return;
	}
	if (!env->refs) {
		map_del(&env->all->by_hash, env->hash);
		environment_free(env);
		return;
	}
	if (launched && strcmp(cause, "exit code 0") == 0 &&
	    access(marker, F_OK) == 0) {
		log_info(LOG_F(F_S("environment", env->hash)),
			 "environment built");
		settle(env, ENVIRONMENT_READY);
		return;
	}
	env->message = launched ? failure_text(env, cause) : mem_strdup(cause);
	log_warn(LOG_F(F_S("environment", env->hash)), "environment failed: %s",
		 env->message);
	settle(env, ENVIRONMENT_FAILED);
}

static const struct process_ops build_ops = {
	.on_line = on_line,
	.on_exit = on_process_gone,
};

static int make_dirs(struct environments *e, const char *dir, const char *cache,
		     struct err *err)
{
	if (file_mkdirs(dir, 0755, err) || file_mkdirs(cache, 0755, err))
		return err->code;
	if (e->build_uid && (chown(dir, e->build_uid, e->build_uid) < 0 ||
			     chown(cache, e->build_uid, e->build_uid) < 0))
		return err_sys(err, errno, "giving '%s' to the build user",
			       dir);
	return 0;
}

/* Words of a command line, which exec leaves as they are. */
static size_t word(char **argv, size_t n, const char *text)
{
	argv[n] = (char *)(uintptr_t)text;
	return n + 1;
}

static size_t option(char **argv, size_t n, const char *name, const char *value)
{
	return word(argv, word(argv, n, name), value);
}

static int build(struct environments *e, struct environment *env,
		 struct err *err)
{
	struct serve *s = e->serve;
	cleanup_free char *script =
		mem_printf("%s/environment.py", s->worker_dir);
	cleanup_free char *cache = mem_printf("%s/envs/cache", s->data_dir);
	cleanup_free char *name = mem_printf(
		"env-%s-%llu", env->hash, (unsigned long long)s->local.next_id);
	cleanup_free char *meta =
		mem_printf("{\"name\":\"%s\",\"kind\":\"environment\"}", name);
	char *argv[20 + 2 * (ARRAY_LEN(env->imported.rows) +
			     ARRAY_LEN(env->needed.rows))];
	size_t n = 0;
	char **env_vars;
	const char *need[] = {env->base, script, env->project, NULL};
	struct process_spec spec;
	int rc;

	if (make_dirs(e, env->dir, cache, err))
		return err->code;
	n = word(argv, n, env->base);
	n = option(argv, n, "-u", script);
	n = word(argv, n, "build");
	n = option(argv, n, "--dir", env->dir);
	n = option(argv, n, "--python", env->base);
	n = option(argv, n, "--project", env->project);
	n = option(argv, n, "--cache", cache);
	if (env->requirements)
		n = option(argv, n, "--requirements", env->requirements);
	if (env->shell)
		n = option(argv, n, "--shell", env->shell);
	for (size_t i = 0; i < env->imported.n; i++)
		n = option(argv, n, "--imported", env->imported.rows[i]);
	for (size_t i = 0; i < env->needed.n; i++)
		n = option(argv, n, "--needed", env->needed.rows[i]);
	assert(n < ARRAY_LEN(argv));
	argv[n] = NULL;
	env_vars = environ_make(NULL, NULL);
	spec = (struct process_spec){.name = name,
				     .meta = meta,
				     .argv = argv,
				     .env = env_vars,
				     .dir = env->project,
				     .home = cache,
				     .uid = e->build_uid,
				     .need = need};
	rc = process_start(&env->process, &s->local, &spec, &build_ops, env,
			   err);
	environ_free(env_vars);
	return rc;
}

static void start_build(struct environments *e, struct environment *env)
{
	struct err err = {0};

	env->state = ENVIRONMENT_BUILDING;
	log_info(LOG_F(F_S("environment", env->hash)), "building environment");
	if (build(e, env, &err)) {
		free(env->message);
		env->message = mem_strdup(err.msg);
		env->state = ENVIRONMENT_FAILED;
	}
}

/* ---- sharing ---- */

/* The absolute path of the file a spec names, or of the one by custom; NULL:
 * nothing to do. */
static char *project_file(const char *named, const char *custom,
			  const char *project_dir)
{
	char *path;

	if (!project_dir)
		return NULL;
	path = mem_printf("%s/%s", project_dir, named ? named : custom);
	if (access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* Nothing in a virtual environment is changed: it is as somebody made it. */
static void find_wanted(struct environment *env, const struct spec *spec)
{
	env->requirements = project_file(spec->predictor.pip,
					 "requirements.txt", env->project);
	if (env->requirements && environment__asks_nothing(env->requirements))
		free(mem_take(&env->requirements));
	env->shell = project_file(spec->predictor.shell, "dependencies.sh",
				  env->project);
	base_packages_imported(&env->imported, spec, env->project);
	base_packages_needed(&env->needed, spec);
}

static bool wants_build(const struct environment *env)
{
	return env->requirements || env->shell || env->imported.n ||
	       env->needed.n;
}

static bool wants_python(const struct environment *env, const struct spec *spec)
{
	return spec->predictor.type == PREDICTOR_PYTHON || wants_build(env);
}

/* Nothing is to be built: the interpreter, if there is one. */
static void as_it_is(struct environment *env, bool venv)
{
	env->python = mem_strdup(env->base);
	env->state = ENVIRONMENT_NONE;
	if (venv) {
		env->bin = mem_strdup(env->base);
		*strrchr(env->bin, '/') = 0;
	}
}

int environment_get(struct environments *e, const struct spec *spec,
		    const char *project_dir, uid_t uid,
		    struct environment **ret, struct err *err)
{
	struct environment *env = mem_alloc(sizeof *env), *known;
	cleanup_free char *marker = NULL;
	bool venv = false;
	char hash[SHA256_HEX];

	list_init(&env->users);
	list_init(&env->tail);
	env->all = e;
	env->refs = 1;
	env->project = mem_strdup(project_dir);
	if (spec->predictor.python &&
	    interpreter__named(spec->predictor.python, project_dir, uid,
			       &env->base, &venv, err))
		goto failed;
	/* A native model has no Python around it. */
	if (!venv && spec->predictor.type != PREDICTOR_ENGINE)
		find_wanted(env, spec);
	/* A program that asks for no packages needs no Python to be here. */
	if (!env->base && wants_python(env, spec) &&
	    interpreter__any(uid, &env->base, err))
		goto failed;
	if (!wants_build(env)) {
		as_it_is(env, venv);
		*ret = env;
		return 0;
	}
	if (environment__hash(env, hash, err))
		goto failed;
	known = map_get(&e->by_hash, hash);
	if (known) {
		environment_free(env);
		known->refs++;
		if (known->state == ENVIRONMENT_FAILED && !known->process)
			start_build(e, known);
		*ret = known;
		return 0;
	}
	env->hash = mem_strdup(hash);
	env->dir = mem_printf("%s/envs/%s", e->serve->data_dir, hash);
	env->python = mem_printf("%s/bin/python", env->dir);
	env->bin = mem_printf("%s/bin", env->dir);
	map_set(&e->by_hash, hash, env);
	marker = mem_printf("%s/.complete", env->dir);
	if (access(marker, F_OK) == 0)
		env->state = ENVIRONMENT_READY;
	else
		start_build(e, env);
	*ret = env;
	return 0;
failed:
	environment_free(env);
	return err->code;
}

void environment_wait(struct environment *env, struct environment_user *u)
{
	list_push_back(&env->users, &u->link);
}

void environment_leave(struct environment_user *u)
{
	list_remove(&u->link);
}

void environment_unref(struct environment *env)
{
	if (!env || --env->refs)
		return;
	if (env->process) {
		env->abandoned = true;
		process_signal(env->process, SIGKILL);
		return;
	}
	if (env->hash)
		map_del(&env->all->by_hash, env->hash);
	environment_free(env);
}

void environments_fini(struct environments *e)
{
	struct environment *env;

	for (size_t i = 0; (env = map_next(&e->by_hash, &i, NULL));)
		environment_free(env);
	map_fini(&e->by_hash);
}
