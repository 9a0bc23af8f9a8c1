#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "core/str.h"
#include "loop/file.h"
#include "serve/environment_parts.h"

enum { TEXT_MAX = 4 << 20 }; /* of a requirements file */

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

bool environment__asks_nothing(const char *requirements)
{
	cleanup_free char *text = NULL;
	const char *p;
	size_t len;

	if (file_read(requirements, TEXT_MAX, &text, &len, NULL))
		return false;
	for (p = text; *p; p += strspn(p, " \t\r\n"))
		if (*p == '#')
			p += strcspn(p, "\r\n");
		else if (!strchr(" \t\r\n", *p))
			return false;
	return true;
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

static void add_rows(struct sha256 *h, const char *what,
		     const struct package_rows *b)
{
	for (size_t i = 0; i < b->n; i++) {
		sha256_add(h, what, strlen(what) + 1);
		sha256_add(h, b->rows[i], strlen(b->rows[i]) + 1);
	}
}

int environment__hash(const struct environment *env, char out[SHA256_HEX],
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
	add_rows(&h, "imported", &env->imported);
	add_rows(&h, "needed", &env->needed);
	if (refers && env->project)
		sha256_add(&h, env->project, strlen(env->project));
	sha256_hex(&h, out);
	out[16] = 0;
	return 0;
}
