#include "daemon/publish.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/sha256.h"
#include "loop/file.h"

enum { FILES_MAX = 64, FILE_MAX = 64 << 20 };

/* Where the worker lies, seen from the program. */
static char *find_worker(struct err *err)
{
	static const char *const places[] = {
		"python/soma", "../lib/soma/python/soma", "../python/soma"};
	const char *named = getenv("SOMA_WORKER_DIR");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (named && *named)
		return mem_strdup(named);
	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char *dir = mem_printf("%s/%s", self, places[i]);
		cleanup_free char *main = mem_printf("%s/worker_main.py", dir);

		if (access(main, R_OK) == 0)
			return dir;
		free(dir);
	}
	err_set(err, E_NOTFOUND,
		"the Python worker is not beside %s: build again, or install "
		"again",
		self);
	return NULL;
}

/* Regular files, by name. */
static int is_file(const struct dirent *e)
{
	return e->d_name[0] != '.' &&
	       (e->d_type == DT_REG || e->d_type == DT_LNK ||
		e->d_type == DT_UNKNOWN);
}

static int copy_files(const char *from, const char *to, struct dirent **list,
		      int n, struct err *err)
{
	for (int i = 0; i < n; i++) {
		cleanup_free char *a =
			mem_printf("%s/%s", from, list[i]->d_name);
		cleanup_free char *b = mem_printf("%s/%s", to, list[i]->d_name);

		if (file_copy(a, b, 0644, err))
			return err->code;
	}
	return 0;
}

static int hash_files(const char *from, struct dirent **list, int n,
		      char out[SHA256_HEX], struct err *err)
{
	struct sha256 h;

	sha256_init(&h);
	for (int i = 0; i < n; i++) {
		cleanup_free char *path =
			mem_printf("%s/%s", from, list[i]->d_name);
		cleanup_free char *data = NULL;
		size_t len;

		if (file_read(path, FILE_MAX, &data, &len, err)) {
			sha256_fini(&h);
			return err->code;
		}
		sha256_add(&h, list[i]->d_name, strlen(list[i]->d_name) + 1);
		sha256_add(&h, data, len);
	}
	sha256_hex(&h, out);
	out[16] = 0;
	return 0;
}

int publish_worker(const char *data_dir, char **ret_dir, struct err *err)
{
	cleanup_free char *from = find_worker(err), *home = NULL, *tmp = NULL;
	cleanup_free char *soma = NULL;
	struct dirent **list;
	char hash[SHA256_HEX];
	int n, rc;

	if (!from)
		return err->code;
	n = scandir(from, &list, is_file, alphasort);
	if (n < 0)
		return err_sys(err, errno, "reading '%s'", from);
	rc = hash_files(from, list, n, hash, err);
	home = mem_printf("%s/lib/%s", data_dir, rc ? "" : hash);
	tmp = mem_printf("%s.tmp.%d", home, (int)getpid());
	soma = mem_printf("%s/soma", tmp);
	if (!rc && access(home, F_OK) < 0) {
		rc = file_mkdirs(soma, 0755, err);
		if (!rc)
			rc = copy_files(from, soma, list, n, err);
		if (!rc && rename(tmp, home) < 0 && errno != EEXIST &&
		    errno != ENOTEMPTY)
			rc = err_sys(err, errno, "making '%s'", home);
		if (rc)
			file_remove_tree(tmp, NULL);
	}
	while (n > 0)
		free(list[--n]);
	free(list);
	if (rc)
		return err_wrap(err, "copying the Python worker");
	*ret_dir = mem_printf("%s/soma", home);
	return 0;
}
