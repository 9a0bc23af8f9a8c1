#include "cli/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/admin.h"
#include "cli/ignore.h"
#include "cli/model.h"
#include "cli/term.h"
#include "core/mem.h"
#include "core/str.h"

enum {
	FILES_MAX = 20000,
	FILES_SEEN_MAX = 200000, /* where counting ends: enough to say so */
	DEPTH_MAX = 64,
	CONFIG_BYTES_MAX = 16 << 20,
	IGNORE_BYTES_MAX = 1 << 20,
	BIGGEST = 5,
};
static const uint64_t BYTES_MAX = 512ull << 20;

/* Weaker than what the user's files say: a '!' there brings anything back. */
static const char left_out[] = ".*\n*.pyc\n*.pyo\n*.pyd\n__pycache__/\n";
/* Often in .gitignore for being secret, but predictors want it. */
static const char brought_back[] = "!.env\n";

struct walk {
	struct bundle *b;
	struct ignore ignore;
	/* Directories from the top to here, for symbolic links that go round.
	 */
	struct {
		dev_t dev;
		ino_t ino;
	} above[DEPTH_MAX];
	size_t depth;
};

static int walk_dir(struct walk *w, const char *rel, struct err *err);

static char *join(const char *dir, const char *name)
{
	return *dir ? mem_printf("%s/%s", dir, name) : mem_strdup(name);
}

static void add_file(struct bundle *b, const char *rel, const struct stat *st)
{
	if (b->n_files == b->room) {
		b->room = MAX(64, b->room * 2);
		b->files = mem_grow(b->files, b->room * sizeof *b->files);
	}
	b->files[b->n_files++] = (struct bundle_file){
		.path = mem_strdup(rel),
		.size = (uint64_t)st->st_size,
		.mode = st->st_mode & 0777,
	};
	b->bytes += (uint64_t)st->st_size;
}

static bool is_utf8(const char *text)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	char *json;

	yyjson_mut_doc_set_root(doc, yyjson_mut_str(doc, text));
	json = yyjson_mut_write(doc, 0, NULL);
	free(json);
	return json != NULL;
}

static int enter_dir(struct walk *w, const char *rel, const struct stat *st,
		     struct err *err)
{
	int rc;

	for (size_t i = 0; i < w->depth; i++)
		if (w->above[i].dev == st->st_dev &&
		    w->above[i].ino == st->st_ino)
			return err_set(err, E_INVALID,
				       "'%s' is a symbolic link to a folder "
				       "that it is in: remove it, or list it "
				       "in .somaignore",
				       rel);
	if (w->depth == DEPTH_MAX)
		return err_set(err, E_TOOBIG,
			       "'%s' is more than %d folders deep: list it in "
			       ".somaignore",
			       rel, DEPTH_MAX);
	w->above[w->depth].dev = st->st_dev;
	w->above[w->depth].ino = st->st_ino;
	w->depth++;
	rc = walk_dir(w, rel, err);
	w->depth--;
	return rc;
}

static bool is_venv(const char *dir)
{
	cleanup_free char *mark = mem_printf("%s/pyvenv.cfg", dir);

	return access(mark, F_OK) == 0;
}

static int visit(struct walk *w, const char *rel, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", w->b->dir, rel);
	struct stat st;
	bool is_dir;
	int sys = 0;

	if (stat(path, &st) != 0) {
		sys = errno;
		if (lstat(path, &st) != 0)
			return 0; /* gone since it was listed */
	}
	is_dir = S_ISDIR(st.st_mode);
	if (ignore_match(&w->ignore, rel, is_dir))
		return 0;
	if (sys != 0)
		return err_set(err, E_NOTFOUND,
			       "'%s' is a symbolic link to nothing that can be "
			       "read (%s): mend it, or list it in .somaignore",
			       rel, strerror(sys));
	if (!is_utf8(rel))
		return err_set(err, E_INVALID,
			       "the name of '%s' is not UTF-8: rename it, or "
			       "list it in .somaignore",
			       rel);
	if (is_dir)
		return is_venv(path) ? 0 : enter_dir(w, rel, &st, err);
	if (!S_ISREG(st.st_mode)) {
		term_warn("'%s' is neither a file nor a folder: left out", rel);
		return 0;
	}
	if (strcmp(rel, w->b->config_name) != 0)
		add_file(w->b, rel, &st);
	return 0;
}

static int walk_dir(struct walk *w, const char *rel, struct err *err)
{
	cleanup_free char *path = *rel ? mem_printf("%s/%s", w->b->dir, rel)
				       : mem_strdup(w->b->dir);
	struct dirent *e;
	DIR *d;
	int rc = 0;

	d = opendir(path);
	if (!d)
		return err_sys(err, errno,
			       "cannot read folder '%s' (list it in "
			       ".somaignore if the api does not need it)",
			       path);
	while (rc == 0 && w->b->n_files < FILES_SEEN_MAX && (e = readdir(d))) {
		cleanup_free char *child = NULL;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		child = join(rel, e->d_name);
		rc = visit(w, child, err);
	}
	closedir(d);
	return rc;
}

static int read_ignore(struct walk *w, const char *name, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", w->b->dir, name);
	cleanup_free char *text = NULL;
	FILE *f = fopen(path, "re");
	size_t len = 0;
	int rc;

	if (!f && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!f)
		return err_sys(err, errno, "cannot read %s", path);
	rc = cli_read(f, path, IGNORE_BYTES_MAX, &text, &len, err);
	fclose(f);
	if (rc == 0)
		ignore_add(&w->ignore, text, len);
	return rc;
}

static int by_path(const void *a, const void *b)
{
	const struct bundle_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static int by_size(const void *a, const void *b)
{
	const struct bundle_file *x = a, *y = b;

	return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

static int check_size(struct bundle *b, struct err *err)
{
	struct buf list;
	char size[32], most[32];

	if (b->n_files <= FILES_MAX && b->bytes <= BYTES_MAX)
		return 0;
	qsort(b->files, b->n_files, sizeof *b->files, by_size);
	buf_init(&list, ERR_MSG_MAX / 2);
	for (size_t i = 0; i < b->n_files && i < BIGGEST; i++)
		buf_addf(&list, "\n  %10s  %s",
			 str_human_bytes(b->files[i].size, size),
			 b->files[i].path);
	err_set(err, E_TOOBIG,
		"the project folder %.200s is too large: %s in %s%zu files "
		"(at most %s in %d files). List what the apis do not need in "
		".somaignore. The biggest:%s",
		b->dir, str_human_bytes(b->bytes, size),
		b->n_files >= FILES_SEEN_MAX ? "more than " : "", b->n_files,
		str_human_bytes(BYTES_MAX, most), FILES_MAX, buf_cstr(&list));
	buf_fini(&list);
	return E_TOOBIG;
}

static int hash_file(const struct bundle *b, struct bundle_file *f,
		     struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", b->dir, f->path);
	FILE *in = fopen(path, "re");
	struct sha256 sum;
	char piece[65536];
	uint64_t size = 0;
	size_t n;
	int rc = 0;

	if (!in)
		return err_sys(err, errno,
			       "cannot read '%s' (list it in .somaignore if "
			       "the apis do not need it)",
			       f->path);
	sha256_init(&sum);
	while ((n = fread(piece, 1, sizeof piece, in)) > 0) {
		sha256_add(&sum, piece, n);
		size += n;
	}
	if (ferror(in))
		rc = err_sys(err, errno, "cannot read '%s'", f->path);
	fclose(in);
	f->size = size;
	sha256_hex(&sum, f->sha256);
	return rc;
}

static int hash_files(struct bundle *b, struct err *err)
{
	int rc = 0;

	if (b->n_files)
		qsort(b->files, b->n_files, sizeof *b->files, by_path);
	for (size_t i = 0; rc == 0 && i < b->n_files; i++)
		rc = hash_file(b, &b->files[i], err);
	return rc;
}

static int collect(struct bundle *b, struct err *err)
{
	struct walk w = {.b = b};
	struct stat st;
	int rc;

	if (stat(b->dir, &st) != 0)
		return err_sys(err, errno, "cannot read folder %s", b->dir);
	ignore_init(&w.ignore);
	ignore_add(&w.ignore, left_out, sizeof left_out - 1);
	rc = read_ignore(&w, ".gitignore", err);
	ignore_add(&w.ignore, brought_back, sizeof brought_back - 1);
	if (rc == 0)
		rc = read_ignore(&w, ".cortexignore", err);
	if (rc == 0)
		rc = read_ignore(&w, ".somaignore", err);
	if (rc == 0)
		rc = enter_dir(&w, "", &st, err);
	ignore_fini(&w.ignore);
	if (rc == 0)
		rc = check_size(b, err);
	return rc == 0 ? hash_files(b, err) : rc;
}

/* A whole home or disk is hardly ever meant, and never small. */
static int check_dir(const char *dir, struct err *err)
{
	const char *home = getenv("HOME");
	char real[PATH_MAX];
	bool is_home = home && realpath(home, real) && strcmp(dir, real) == 0;

	if (strcmp(dir, "/") == 0 || is_home)
		return err_set(err, E_INVALID,
			       "%s is %s: all of it would be sent. Put the "
			       "config file and what its apis need into a "
			       "folder of their own",
			       dir, is_home ? "your home folder" : "the root");
	return 0;
}

/* The config file that `path` means. NULL: err is set. */
static char *find_config(const char *path, struct err *err)
{
	static const char *const names[] = {"soma.yaml", "cortex.yaml"};
	const char *dir = path ? path : ".";
	struct stat st;

	if (path && stat(path, &st) != 0) {
		err_sys(err, errno, "cannot read '%s'", path);
		return NULL;
	}
	if (path && !S_ISDIR(st.st_mode))
		return mem_strdup(path);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *config = mem_printf("%s/%s", dir, names[i]);

		if (access(config, F_OK) == 0)
			return config;
		free(config);
	}
	err_set(err, E_NOTFOUND,
		"there is no soma.yaml or cortex.yaml in %s: go to the folder "
		"that has one, or name the file: soma deploy FILE",
		path ? path : "this folder");
	return NULL;
}

/* The folder and the name of a path; the folder's links are followed. */
static int split_path(struct bundle *b, const char *path, char **ret_name,
		      struct err *err)
{
	cleanup_free char *copy = mem_strdup(path);
	char real[PATH_MAX], *slash = strrchr(copy, '/');

	*ret_name = mem_strdup(slash ? slash + 1 : copy);
	if (slash)
		slash[slash == copy ? 1 : 0] = '\0';
	if (!realpath(slash ? copy : ".", real))
		return err_sys(err, errno, "cannot find the folder of %s",
			       path);
	b->dir = mem_strdup(real);
	return 0;
}

static int read_config(struct bundle *b, const char *path, struct err *err)
{
	cleanup_free char *config = find_config(path, err);
	FILE *f;
	int rc;

	if (!config)
		return err->code;
	if (model_wants_class(config))
		return err_set(err, E_INVALID,
			       "'%s' is no config file: what a project deploys "
			       "is said by a soma.yaml, beside a Python class "
			       "that loads the model; 'soma init DIR' makes "
			       "such a pair",
			       config);
	f = fopen(config, "re");
	if (!f)
		return err_sys(err, errno, "cannot read %s", config);
	rc = cli_read(f, config, CONFIG_BYTES_MAX, &b->config, &b->config_len,
		      err);
	fclose(f);
	if (rc != 0)
		return rc;
	/* The folder of the name that was given, also when that is a link. */
	return split_path(b, config, &b->config_name, err);
}

static int add_model_file(struct bundle *b, const char *name, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", b->dir, name);
	struct stat st;

	if (stat(path, &st) != 0)
		return err_sys(err, errno,
			       "the model's data in '%s' cannot be read: put "
			       "it into the folder of the model",
			       name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, E_INVALID, "'%s' is not a file", path);
	add_file(b, name, &st);
	return 0;
}

/* A model and its external data; of any size, since it was named. */
static int bundle_model(struct bundle *b, const char *path, struct err *err)
{
	cleanup_free char *name = NULL;
	char **data = NULL;
	size_t n = 0;
	int rc = split_path(b, path, &name, err);

	if (rc == 0)
		rc = model_data(path, &data, &n, err);
	if (rc == 0)
		rc = add_model_file(b, name, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_model_file(b, data[i], err);
	model_data_free(data, n);
	if (rc == 0)
		rc = hash_files(b, err);
	if (rc != 0)
		return rc;
	b->model = mem_printf("%s/%s", b->dir, name);
	b->config_name = mem_strdup("soma.yaml");
	b->config = model_config(name);
	b->config_len = strlen(b->config);
	return 0;
}

static bool is_model(const char *path)
{
	struct stat st;

	return path && model_is(path) &&
	       !(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

int bundle_config(struct bundle *b, const char *path, struct err *err)
{
	int rc;

	*b = (struct bundle){0};
	if (is_model(path))
		return err_set(err, E_INVALID,
			       "'%s' is a model and no config file: 'soma "
			       "deploy' takes it",
			       path);
	rc = read_config(b, path, err);
	if (rc != 0)
		bundle_fini(b);
	return rc;
}

int bundle_make(struct bundle *b, const char *path, struct err *err)
{
	int rc;

	*b = (struct bundle){0};
	if (is_model(path)) {
		rc = bundle_model(b, path, err);
	} else {
		rc = read_config(b, path, err);
		if (rc == 0)
			rc = check_dir(b->dir, err);
		if (rc == 0)
			rc = collect(b, err);
	}
	if (rc != 0)
		bundle_fini(b);
	return rc;
}

void bundle_fini(struct bundle *b)
{
	for (size_t i = 0; i < b->n_files; i++)
		free(b->files[i].path);
	free(b->files);
	free(b->config);
	free(b->config_name);
	free(b->model);
	free(b->dir);
	*b = (struct bundle){0};
}
