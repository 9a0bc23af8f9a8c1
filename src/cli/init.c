#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/project.h"
#include "cli/term.h"
#include "core/mem.h"
#include "core/str.h"
#include "loop/file.h"

enum { PART_BYTES_MAX = 1 << 20 };

static const struct project_type *find_type(const char *given)
{
	const struct project_type *t;
	struct buf names;

	for (size_t i = 0; (t = project_type_at(i)); i++)
		if (strcmp(t->type, given) == 0)
			return t;
	buf_init(&names, PART_BYTES_MAX);
	for (size_t i = 0; (t = project_type_at(i)); i++)
		buf_addf(&names, "%s'%s'", i ? ", " : "", t->type);
	term_fail(CLI_USAGE, "--type is one of %s, not '%s'", buf_cstr(&names),
		  given);
	buf_fini(&names);
	return NULL;
}

/* Nothing is written when one of them is there. */
static int check_absent(const struct project_type *t, const char *dir,
			struct err *err)
{
	for (const struct project_part *p = t->parts; p->path; p++) {
		cleanup_free char *path = mem_printf("%s/%s", dir, p->path);
		struct stat st;

		if (lstat(path, &st) == 0)
			return err_set(err, E_CONFLICT,
				       "%s is there already: nothing was "
				       "written. Name another folder: soma "
				       "init DIR",
				       path);
	}
	return 0;
}

/* Never over a file that is there, even one that came this moment. */
static int write_new(const char *path, const struct buf *text, struct err *err)
{
	cleanup_close int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	size_t done = 0;

	if (fd < 0)
		return err_sys(err, errno, "cannot make %s", path);
	while (done < text->len) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "cannot write %s", path);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static void add_named(struct buf *out, const char *text, const char *name)
{
	static const char mark[] = "@name@";
	const char *at;

	for (; (at = strstr(text, mark)); text = at + sizeof mark - 1) {
		buf_add(out, text, (size_t)(at - text));
		buf_adds(out, name);
	}
	buf_adds(out, text);
}

static int write_part(const struct project_part *p, const char *dir,
		      const char *name, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, p->path);
	struct buf text;
	int rc;

	buf_init(&text, PART_BYTES_MAX);
	if (p->text)
		add_named(&text, p->text, name);
	else
		p->make(&text);
	rc = write_new(path, &text, err);
	buf_fini(&text);
	return rc;
}

static int make(const struct project_type *t, const char *dir, const char *name,
		struct err *err)
{
	int rc = file_mkdirs(dir, 0777, err);

	if (rc == 0)
		rc = check_absent(t, dir, err);
	for (const struct project_part *p = t->parts; rc == 0 && p->path; p++)
		rc = write_part(p, dir, name, err);
	return rc;
}

/* The name of an api for the folder `dir`, which need not be there yet. */
static char *name_of(const char *dir)
{
	char real[PATH_MAX];
	cleanup_free char *whole = NULL;
	char *slash;

	whole = mem_strdup(realpath(dir, real) ? real : dir);
	while ((slash = strrchr(whole, '/')) && !slash[1] && slash != whole)
		*slash = '\0';
	return project_name(slash ? slash + 1 : whole);
}

int cmd_init(const struct args *a)
{
	const char *dir = args_word(a, 0);
	const char *type = args_value(a, "type");
	const struct project_type *t = find_type(type ? type : "python");
	cleanup_free char *name = name_of(dir ? dir : ".");
	struct err err = {0};

	if (!t)
		return CLI_USAGE;
	if (make(t, dir ? dir : ".", name, &err) != 0)
		return term_fail(CLI_FAILED, "%s", err.msg);
	printf("made the api '%s', %s:\n", name, t->text);
	for (const struct project_part *p = t->parts; p->path; p++)
		printf("  %s%s%s\n", dir ? dir : "",
		       dir && dir[strlen(dir) - 1] != '/' ? "/" : "", p->path);
	puts("\nnext, with 'soma serve' running:");
	if (dir)
		printf("  cd %s\n", dir);
	printf("  soma deploy\n  soma predict %s sample.json\n", name);
	return CLI_OK;
}
