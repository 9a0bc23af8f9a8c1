/* A shelf that is another user's: who may write there, and where root does not
 * let itself be led. As root alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shelf_fixture.h"

enum { FETCHER = 61182, STRANGER = 61183 };

static bool is_root(void)
{
	if (geteuid() != 0)
		puts("skipped: to give files away takes root");
	return geteuid() == 0;
}

/* As somebody else, in a process of his own; what fn returns. */
static int as(uid_t uid, int (*fn)(void *data), void *data)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgroups(0, NULL) != 0 || setgid(uid) != 0 ||
		    setuid(uid) != 0)
			_exit(99);
		_exit(fn(data));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void assert_owner(const char *dir, const char *name, uid_t uid)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_uid, uid);
}

/* A shelf of FETCHER's, below a folder that only root can enter, and beside it
 * what nobody but root may touch. */
struct others {
	struct shelf s;
	char *dir, *secret; /* owned */
	char hash[65];
};

static void others_open(struct others *o, const struct fixture *f)
{
	struct err err = {0};

	o->dir = mem_printf("%s/others", f->dir);
	o->secret = mem_printf("%s/secret", f->dir);
	assert_int_equal(chmod(f->dir, 0700), 0);
	assert_int_equal(mkdir(o->secret, 0700), 0);
	assert_int_equal(shelf_open_as(&o->s, o->dir, FETCHER, &err), 0);
}

static void others_close(struct others *o)
{
	shelf_close(&o->s);
	free(o->dir);
	free(o->secret);
}

static void the_folders_are_who_fetches(void **state)
{
	static const char *const names[] = {"files", "trees", "parts",
					    "refs",  ".lock", "refs/.lock"};
	struct others o;
	struct stat st;

	if (!is_root())
		return;
	others_open(&o, *state);
	assert_owner(o.dir, ".", 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_owner(o.dir, names[i], FETCHER);
	assert_int_equal(stat(o.dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	others_close(&o);
}

/* The rights are the thread's own again, and so is what the kernel takes away
 * with them. */
static void root_is_root_again(void **state)
{
	struct err err = {0};
	struct others o;
	gid_t groups[3] = {0};
	int signal = 0;

	if (!is_root())
		return;
	assert_int_equal(setgroups(2, (gid_t[]){7, 9}), 0);
	assert_int_equal(prctl(PR_SET_PDEATHSIG, SIGUSR2), 0);
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
	others_open(&o, *state);
	assert_int_equal(shelf_used(&o.s, "s3://b/none", &err), E_NOTFOUND);
	assert_int_equal(setfsuid((uid_t)-1), 0);
	assert_int_equal(setfsgid((gid_t)-1), 0);
	assert_int_equal(getgroups(3, groups), 2);
	assert_int_equal(groups[0], 7);
	assert_int_equal(groups[1], 9);
	assert_int_equal(prctl(PR_GET_PDEATHSIG, &signal), 0);
	assert_int_equal(signal, SIGUSR2);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	assert_int_equal(prctl(PR_SET_PDEATHSIG, 0), 0);
	assert_int_equal(access(o.secret, W_OK), 0);
	others_close(&o);
}

static int try_names(void *data)
{
	const struct others *o = data;
	static const char *const names[] = {"files", "refs", "pins", ".lock"};

	assert_int_equal(chdir(o->dir), -1); /* it lies behind root's */
	if (fchdir(o->s.fd) != 0)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (rename(names[i], "away") == 0 || unlink(names[i]) == 0 ||
		    symlink("/etc", names[i]) == 0)
			return 2;
	}
	return symlink("/etc", "new") == 0 ? 3 : 0;
}

/* As which user a shelf is, not even he changes what its folders are. */
static void no_folder_becomes_a_link(void **state)
{
	struct others o;

	if (!is_root())
		return;
	others_open(&o, *state);
	assert_int_equal(as(FETCHER, try_names, &o), 0);
	others_close(&o);
}

static int try_writing(void *data)
{
	static const char *const names[] = {"files/x", "trees/x", "refs/x",
					    "parts/x", "x"};
	const struct others *o = data;

	if (fchdir(o->s.fd) != 0)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (symlink("/etc", names[i]) == 0 || errno != EACCES)
			return 2;
	return open("refs", O_RDONLY) >= 0 ? 3 : 0;
}

/* Builds run what others wrote. */
static void who_builds_writes_nothing(void **state)
{
	struct others o;

	if (!is_root())
		return;
	others_open(&o, *state);
	assert_int_equal(as(STRANGER, try_writing, &o), 0);
	others_close(&o);
}

__attribute__((format(printf, 3, 4))) static void
plant(const struct others *o, const char *to, const char *fmt, ...)
{
	cleanup_free char *at = NULL;
	char name[300];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof name, fmt, args);
	va_end(args);
	at = mem_printf("%s/%s", o->dir, name);
	assert_int_equal(symlink(to, at), 0);
	assert_int_equal(lchown(at, FETCHER, FETCHER), 0);
}

static char *secret(const struct others *o, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", o->secret, name);

	assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static void assert_text(const char *path, const char *text)
{
	cleanup_free char *is = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(file_read(path, 4096, &is, &len, NULL), 0);
	assert_string_equal(is, text);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static int publish_as(void *data)
{
	const struct others *o = data;
	struct shelf s;
	char tree[65];
	struct err err = {0};

	if (shelf_open(&s, o->dir, &err) != 0)
		return 1;
	return publish(&s, "s3://b/m", "weights", tree) != 0;
}

/* By who fetches, as the box has it: with a way to the folder. */
static void fetched(const struct others *o, const struct fixture *f)
{
	assert_int_equal(chmod(f->dir, 0711), 0);
	assert_int_equal(as(FETCHER, publish_as, (void *)(uintptr_t)o), 0);
	assert_int_equal(chmod(f->dir, 0700), 0);
}

/* A ref that is a link to root's file is neither read nor written through. */
static void a_link_among_refs_is_not_followed(void **state)
{
	cleanup_free char *target = NULL, *path = NULL, *json = NULL;
	struct others o;
	char key[65], tree[65];
	struct shelf_ref ref;
	struct err err = {0};

	if (!is_root())
		return;
	others_open(&o, *state);
	hash_of("x", tree);
	json = mem_printf("{\"url\":\"s3://b/m\",\"tree\":\"%s\"}", tree);
	target = secret(&o, "ref.json", json);
	path = mem_printf("%s/trees/%s", o.dir, tree);
	assert_int_equal(mkdir(path, 0755), 0);
	hash_of("s3://b/m", key);
	plant(&o, target, "refs/%s.json", key);
	assert_int_equal(shelf_find(&o.s, "s3://b/m", &ref, &err), E_NOTFOUND);
	assert_int_equal(shelf_used(&o.s, "s3://b/m", &err), E_NOTFOUND);
	assert_text(target, json);
	others_close(&o);
}

/* A lock that is a link makes and locks nothing where it leads. */
static void a_link_for_a_lock_is_not_followed(void **state)
{
	cleanup_free char *made = NULL, *lock = NULL;
	struct others o;
	struct err err = {0};

	if (!is_root())
		return;
	others_open(&o, *state);
	made = mem_printf("%s/made", o.secret);
	lock = mem_printf("%s/refs/.lock", o.dir);
	unlink(lock);
	plant(&o, made, "refs/.lock");
	assert_int_not_equal(shelf_used(&o.s, "s3://b/m", &err), 0);
	assert_int_not_equal(shelf_remove(&o.s, "s3://b/m", &err), 0);
	assert_int_equal(access(made, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	others_close(&o);
}

/* What gc takes away is what its user could have. */
static void gc_takes_nothing_behind_a_link(void **state)
{
	cleanup_free char *file = NULL, *part = NULL, *tree = NULL;
	struct others o;
	struct err err = {0};
	struct shelf_gc gc;
	char hash[65];

	if (!is_root())
		return;
	others_open(&o, *state);
	hash_of("y", hash);
	file = secret(&o, hash + 2, "one");
	part = secret(&o, "0.part", "two");
	tree = secret(&o, "config.json", "{}");
	plant(&o, o.secret, "files/%.2s", hash);
	plant(&o, o.secret, "parts/%s", hash);
	plant(&o, o.secret, "trees/%s", hash);
	plant(&o, o.secret, "trees/.tmp-abc");
	assert_int_equal(shelf_gc(&o.s, 1, NULL, 0, &gc, &err), 0);
	shelf_close(&o.s);
	assert_int_equal(shelf_open_as(&o.s, o.dir, FETCHER, &err), 0);
	assert_text(file, "one");
	assert_text(part, "two");
	assert_text(tree, "{}");
	others_close(&o);
}

/* Nor does a link further up, in a tree, lead verify to write. */
static void verify_marks_nothing_behind_a_link(void **state)
{
	cleanup_free char *target = NULL, *bad = NULL, *weights = NULL;
	struct shelf_ref ref;
	struct others o;
	struct err err = {0};

	if (!is_root())
		return;
	others_open(&o, *state);
	fetched(&o, *state);
	assert_int_equal(shelf_find(&o.s, "s3://b/m", &ref, &err), 0);
	assert_true(shelf_whole(&o.s, &ref));
	target = secret(&o, "w.bin", "another");
	weights = mem_printf("%s/trees/%s/weights", o.dir, ref.tree);
	assert_int_equal(file_remove_tree(weights, &err), 0);
	plant(&o, o.secret, "trees/%s/weights", ref.tree);
	assert_int_equal(shelf_verify(&o.s, "s3://b/m", NULL, NULL, &bad, &err),
			 E_FORBIDDEN);
	assert_false(shelf_whole(&o.s, &ref));
	assert_text(target, "another");
	shelf_ref_fini(&ref);
	others_close(&o);
}

/* A pipe would keep the daemon's thread waiting for ever. */
static void a_pipe_among_refs_keeps_nobody(void **state)
{
	cleanup_free char *path = NULL;
	struct others o;
	char key[65];
	struct shelf_ref ref;
	struct err err = {0};

	if (!is_root())
		return;
	others_open(&o, *state);
	hash_of("s3://b/m", key);
	path = mem_printf("%s/refs/%s.json", o.dir, key);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(chown(path, FETCHER, FETCHER), 0);
	assert_int_equal(shelf_find(&o.s, "s3://b/m", &ref, &err), E_NOTFOUND);
	others_close(&o);
}

/* What another user had fetched there is the new one's; what he had linked
 * there and was not his stays whose it is. */
static void what_was_anothers_is_handed_over(void **state)
{
	cleanup_free char *target = NULL, *planted = NULL, *bin = NULL;
	struct fixture *f = *state;
	struct others o;
	struct err err = {0};
	struct shelf_ref ref;
	char hash[65];

	if (!is_root())
		return;
	others_open(&o, f);
	fetched(&o, f);
	target = secret(&o, "key", "root's");
	planted = mem_printf("%s/files/planted", o.dir);
	assert_int_equal(link(target, planted), 0);
	shelf_close(&o.s);
	assert_int_equal(shelf_open_as(&o.s, o.dir, STRANGER, &err), 0);
	hash_of("weights", hash);
	bin = mem_printf("files/%.2s/%s", hash, hash + 2);
	assert_owner(o.dir, bin, STRANGER);
	assert_owner(o.dir, "trees", STRANGER);
	assert_owner(o.dir, ".lock", STRANGER);
	assert_owner(o.dir, "files/planted", 0);
	assert_text(target, "root's");
	assert_int_equal(shelf_find(&o.s, "s3://b/m", &ref, &err), 0);
	assert_true(shelf_whole(&o.s, &ref));
	shelf_ref_fini(&ref);
	assert_int_equal(shelf_used(&o.s, "s3://b/m", &err), 0);
	others_close(&o);
}

/* Folders that are links when root opens the shelf are an error. */
static void a_link_for_a_folder_is_refused(void **state)
{
	struct others o;
	cleanup_free char *refs = NULL;
	struct err err = {0};

	if (!is_root())
		return;
	others_open(&o, *state);
	shelf_close(&o.s);
	refs = mem_printf("%s/refs", o.dir);
	assert_int_equal(file_remove_tree(refs, &err), 0);
	plant(&o, o.secret, "refs");
	assert_int_equal(shelf_open_as(&o.s, o.dir, FETCHER, &err), E_CONFLICT);
	assert_non_null(strstr(err.msg, "is no folder"));
	assert_owner(o.secret, ".", 0);
	others_close(&o);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_folders_are_who_fetches),
		T(root_is_root_again),
		T(no_folder_becomes_a_link),
		T(who_builds_writes_nothing),
		T(a_link_among_refs_is_not_followed),
		T(a_link_for_a_lock_is_not_followed),
		T(gc_takes_nothing_behind_a_link),
		T(verify_marks_nothing_behind_a_link),
		T(a_pipe_among_refs_keeps_nobody),
		T(what_was_anothers_is_handed_over),
		T(a_link_for_a_folder_is_refused),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
