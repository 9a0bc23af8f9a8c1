#include "serve/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/reach.h"
#include "core/buf.h"
#include "core/mem.h"
#include "core/sha256.h"
#include "core/str.h"
#include "loop/file.h"
#include "loop/log.h"
#include "serve/serve.h"

enum {
	TEXT_MAX = 4 << 20, /* of a requirements file */
	TAIL_LINES = 20,
	BUILD_UID = 61183, /* one below the range of replicas' users */
};

extern char **environ;

void environments_init(struct environments *e, struct serve *serve)
{
	*e = (struct environments){.serve = serve};
	map_init(&e->by_hash);
	e->build_uid = geteuid() == 0 ? BUILD_UID : 0;
}

/* ---- the interpreter ---- */

static bool is_program(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char magic[4];

	/* Not a script: pyenv's shims want an environment of their own. */
	return fd >= 0 && access(path, X_OK) == 0 && read(fd, magic, 4) == 4 &&
	       memcmp(magic,
		      "\x7f"
		      "ELF",
		      4) == 0;
}

/* The first python3 of PATH that the replica's user can get to. */
static char *find_python(uid_t uid, struct err *err)
{
	const char *path = getenv("PATH");
	cleanup_free char *dirs =
		mem_printf("%s:/usr/bin:/usr/local/bin", path ? path : "");
	cleanup_free char *blocked = NULL;
	char *save = NULL;

	for (char *d = strtok_r(dirs, ":", &save); d;
	     d = strtok_r(NULL, ":", &save)) {
		cleanup_free char *candidate = mem_printf("%s/python3", d);
		char *ancestor;

		if (!is_program(candidate))
			continue;
		ancestor = uid ? box_blocked_ancestor(candidate) : NULL;
		if (!ancestor)
			return mem_take(&candidate);
		free(blocked);
		blocked = mem_printf("%s (behind %s, which is only for its "
				     "owner)",
				     candidate, ancestor);
		free(ancestor);
	}
	err_set(err, E_UNPROCESSABLE,
		"no python3 that replicas can run%s%s; install one (apt "
		"install python3 python3-venv) or name it with "
		"predictor.python",
		blocked ? ": passed over " : "", blocked ? blocked : "");
	return NULL;
}

/* predictor.python: an interpreter or a venv, absolute or in the project. */
static int named_python(const char *name, const char *project_dir, char **ret,
			bool *ret_venv, struct err *err)
{
	cleanup_free char *path =
		name[0] == '/' || !project_dir
			? mem_strdup(name)
			: mem_printf("%s/%s", project_dir, name);
	cleanup_free char *venv = NULL, *cfg = NULL;
	struct stat st;

	if (!strchr(name, '/')) {
		/* A bare word is looked up by the system. */
		const char *dirs[] = {"/usr/local/bin", "/usr/bin"};

		for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
			free(path);
			path = mem_printf("%s/%s", dirs[i], name);
			if (access(path, X_OK) == 0)
				break;
		}
	}
	if (stat(path, &st) < 0)
		return err_sys(err, errno,
			       "predictor.python names '%s', which cannot be "
			       "used (give the path of an interpreter or of a "
			       "virtual environment)",
			       path);
	*ret_venv = false;
	if (S_ISDIR(st.st_mode)) {
		venv = mem_printf("%s/bin/python", path);
		cfg = mem_printf("%s/pyvenv.cfg", path);
		if (access(venv, X_OK) < 0)
			return err_set(err, E_UNPROCESSABLE,
				       "predictor.python names the directory "
				       "'%s', which has no bin/python: it is "
				       "no virtual environment",
				       path);
		*ret_venv = true;
		*ret = mem_take(&venv);
		return 0;
	}
	cfg = mem_printf("%s/../pyvenv.cfg", path);
	{
		char *slash = strrchr(path, '/');
		cleanup_free char *up =
			mem_strndup(path, slash ? (size_t)(slash - path) : 0);

		free(cfg);
		cfg = mem_printf("%s/../pyvenv.cfg", up);
		*ret_venv = access(cfg, R_OK) == 0;
	}
	*ret = mem_take(&path);
	return 0;
}

/* ---- what is to be installed ---- */

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

/* Whether a requirements file may read the project it lies in: options such
 * as -e and -r, paths, wheels. Wrongly yes costs a build, wrongly no a stale
 * environment. */
static bool reads_project(const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\r\n#");
		struct str line = str_trim((struct str){text, n});

		if (line.n && (line.p[0] == '-' || line.p[0] == '.' ||
			       memchr(line.p, '/', line.n) ||
			       memmem(line.p, line.n, ".whl", 4) ||
			       memmem(line.p, line.n, ".tar.gz", 7)))
			return true;
		text += n;
		text += strcspn(text, "\r\n");
		text += strspn(text, "\r\n");
	}
	return false;
}

static int add_file(struct sha256 *h, const char *what, const char *path,
		    bool *refers, struct err *err)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int rc;

	sha256_add(h, what, strlen(what) + 1);
	if (!path)
		return 0;
	rc = file_read(path, TEXT_MAX, &text, &len, err);
	if (rc)
		return rc;
	sha256_add(h, text, len);
	*refers = *refers || reads_project(text);
	return 0;
}

static int environment_hash(struct environment *env, char out[SHA256_HEX],
			    struct err *err)
{
	char real[PATH_MAX];
	bool refers = env->shell != NULL;
	struct sha256 h;
	struct stat st = {0};
	char stamp[64];

	if (!realpath(env->base, real))
		return err_sys(err, errno, "interpreter '%s'", env->base);
	stat(real, &st);
	snprintf(stamp, sizeof stamp, "%lld.%lld", (long long)st.st_size,
		 (long long)st.st_mtime);
	sha256_init(&h);
	/* Both: a virtual environment's interpreter is a link to another's. */
	sha256_add(&h, env->base, strlen(env->base) + 1);
	sha256_add(&h, real, strlen(real) + 1);
	sha256_add(&h, stamp, strlen(stamp) + 1);
	if (add_file(&h, "requirements", env->requirements, &refers, err) ||
	    add_file(&h, "shell", env->shell, &refers, err)) {
		sha256_fini(&h);
		return err->code;
	}
	if (refers && env->project)
		sha256_add(&h, env->project, strlen(env->project));
	sha256_hex(&h, out);
	out[16] = 0;
	return 0;
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
	char *argv[20];
	size_t n = 0;
	char **env_vars;
	const char *need[] = {env->base, script, env->project, NULL};
	struct process_spec spec;
	int rc;

	if (make_dirs(e, env->dir, cache, err))
		return err->code;
	argv[n++] = env->base;
	argv[n++] = (char *)(uintptr_t) "-u";
	argv[n++] = script;
	argv[n++] = (char *)(uintptr_t) "build";
	argv[n++] = (char *)(uintptr_t) "--dir";
	argv[n++] = env->dir;
	argv[n++] = (char *)(uintptr_t) "--python";
	argv[n++] = env->base;
	argv[n++] = (char *)(uintptr_t) "--project";
	argv[n++] = env->project;
	argv[n++] = (char *)(uintptr_t) "--cache";
	argv[n++] = cache;
	if (env->requirements) {
		argv[n++] = (char *)(uintptr_t) "--requirements";
		argv[n++] = env->requirements;
	}
	if (env->shell) {
		argv[n++] = (char *)(uintptr_t) "--shell";
		argv[n++] = env->shell;
	}
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
	if (!spec->predictor.python) {
		env->base = find_python(uid, err);
		if (!env->base)
			goto failed;
	} else if (named_python(spec->predictor.python, project_dir, &env->base,
				&venv, err)) {
		goto failed;
	}
	if (!venv) {
		env->requirements = project_file(
			spec->predictor.pip, "requirements.txt", project_dir);
		env->shell = project_file(spec->predictor.shell,
					  "dependencies.sh", project_dir);
	}
	if (!env->requirements && !env->shell) {
		env->python = mem_strdup(env->base);
		env->state = ENVIRONMENT_NONE;
		if (venv) {
			env->bin = mem_strdup(env->base);
			*strrchr(env->bin, '/') = 0;
		}
		*ret = env;
		return 0;
	}
	if (environment_hash(env, hash, err))
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

/* ---- variables ---- */

static bool is_ours(const char *var)
{
	static const char *const heads[] = {
		"SOMA_", "NOTIFY_SOCKET=", "LISTEN_", "VIRTUAL_ENV=", "PORT="};

	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (strncmp(var, heads[i], strlen(heads[i])) == 0)
			return true;
	return false;
}

static void env_set(char **list, size_t *n, char *var)
{
	size_t name = strcspn(var, "=") + 1;

	for (size_t i = 0; i < *n; i++) {
		if (strncmp(list[i], var, name) != 0)
			continue;
		free(list[i]);
		list[i] = var;
		return;
	}
	list[(*n)++] = var;
}

char **environ_make(const char *bin, char *const *extra)
{
	size_t room = 8, n = 0;
	const char *path = getenv("PATH");
	char **list;

	for (char **e = environ; *e; e++)
		room++;
	for (char *const *e = extra; e && *e; e++)
		room++;
	list = mem_alloc(room * sizeof *list);
	for (char **e = environ; *e; e++)
		if (!is_ours(*e))
			env_set(list, &n, mem_strdup(*e));
	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	env_set(list, &n,
		bin ? mem_printf("PATH=%s:%s", bin, path)
		    : mem_printf("PATH=%s", path));
	if (bin) {
		cleanup_free char *venv = mem_strdup(bin);
		char *slash = strrchr(venv, '/');

		if (slash)
			*slash = 0;
		env_set(list, &n, mem_printf("VIRTUAL_ENV=%s", venv));
	}
	env_set(list, &n, mem_strdup("PYTHONUNBUFFERED=1"));
	for (char *const *e = extra; e && *e; e++)
		env_set(list, &n, mem_strdup(*e));
	return list;
}

void environ_free(char **env)
{
	for (char **e = env; e && *e; e++)
		free(*e);
	free(env);
}
