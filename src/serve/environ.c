#include "serve/environ.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"

extern char **environ;

static bool is_ours(const char *var)
{
	static const char *const heads[] = {
		"SOMA_", "NOTIFY_SOCKET=", "LISTEN_", "VIRTUAL_ENV=", "PORT="};

	/* For the onnx engine of every api. */
	if (strncmp(var, "SOMA_ONNXRUNTIME=", 17) == 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (strncmp(var, heads[i], strlen(heads[i])) == 0)
			return true;
	return false;
}

static bool has(char *const *list, const char *head)
{
	for (; list && *list; list++)
		if (strncmp(*list, head, strlen(head)) == 0)
			return true;
	return false;
}

/* Who brings a key of his own is not who our token and profile are of: no
 * request that is signed with both is believed. */
static bool is_of_our_key(const char *var, char *const *extra)
{
	static const char *const heads[] = {
		"AWS_SESSION_TOKEN=", "AWS_SECURITY_TOKEN=", "AWS_PROFILE="};

	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (strncmp(var, heads[i], strlen(heads[i])) == 0)
			return has(extra, "AWS_ACCESS_KEY_ID=");
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
		if (!is_ours(*e) && !is_of_our_key(*e, extra))
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
	/* ONNX Runtime reports what it runs to its makers, on a thread of its
	 * own, which no fork carries along. */
	env_set(list, &n, mem_strdup("ORT_DISABLE_TELEMETRY=1"));
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

char **environ_own(const char *libs, char *const *extra)
{
	const char *before = getenv("LD_LIBRARY_PATH");
	char **more, **env;
	size_t n = 0;

	while (extra && extra[n])
		n++;
	more = mem_alloc((n + 2) * sizeof *more);
	if (n)
		memcpy(more, extra, n * sizeof *more);
	if (libs)
		more[n] = mem_printf("LD_LIBRARY_PATH=%s%s%s", libs,
				     before && *before ? ":" : "",
				     before ? before : "");
	env = environ_make(NULL, more);
	free(more[n]);
	free(more);
	return env;
}
