/* main.c: `soma fetch`: what is asked for, and whether it is there already. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/mem.h"
#include "fetch/fetch.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

struct fetch {
	const char *dir, *url;
	char *name; /* owned: of the model on the shelf */
	bool check;
	uint64_t limit;
	long slow_s; /* 0: the usual */
	struct shelf shelf;
	struct client client;
	struct source source;
	struct report report;
	struct failure why;
};

static bool read_number(const char *text, uint64_t *ret)
{
	return text && str_u64(str_of(text), ret) && *ret > 0 &&
	       *ret <= INT64_MAX;
}

/* False: wrong. */
static bool read_args(struct fetch *f, int argc, char **argv)
{
	static const struct option options[] = {
		{"check", no_argument, NULL, 'c'},
		{"dir", required_argument, NULL, 'd'},
		{"limit", required_argument, NULL, 'l'},
		{"slow", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	uint64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c')
			f->check = true;
		else if (c == 'd')
			f->dir = optarg;
		else if (c == 'l' && read_number(optarg, &n))
			f->limit = n;
		else if (c == 's' && read_number(optarg, &n) && n < 86400)
			f->slow_s = (long)n;
		else
			return false;
	}
	/* A URL may have a signature in it, and every user may read the words
	 * of a command. */
	f->url = optind == argc ? getenv("SOMA_MODEL_URL") : argv[optind];
	if (!f->dir || !f->url || optind + 1 < argc)
		return false;
	f->name = shelf_name(f->url, getenv("SOMA_MODEL_VIA"));
	return true;
}

/* Of a source that tells nothing but a size that has to do. */
static bool is_known_by(const struct listing *l, const struct shelf_ref *ref)
{
	uint64_t bytes = listing_bytes(l);

	if (l->etag)
		return strcmp(ref->etag, l->etag) == 0;
	return bytes == SIZE_UNKNOWN || bytes == ref->bytes;
}

/* What is on the shelf is what the source has. ret is the caller's then.
 * Without anything that a version is known by, a pull brings what is there now;
 * a check finds no change, or all would be fetched again with each of them. */
static bool is_same(struct fetch *f, const struct listing *l,
		    struct shelf_ref *ret)
{
	if (!l->etag && !f->check)
		return false;
	if (shelf_find(&f->shelf, f->name, ret, NULL) != 0)
		return false;
	if (is_known_by(l, ret) && shelf_whole(&f->shelf, ret))
		return true;
	shelf_ref_fini(ret);
	return false;
}

static int check_limit(struct fetch *f, const struct listing *l)
{
	uint64_t bytes = listing_bytes(l);
	char has[32], may[32];

	if (f->limit == 0 || bytes == SIZE_UNKNOWN || bytes <= f->limit)
		return 0;
	return failure_set(&f->why, FAIL_TOO_LARGE, false,
			   "%s has %s, %s are allowed: raise the limit, or "
			   "name a smaller model",
			   f->source.shown, str_human_bytes(bytes, has),
			   str_human_bytes(f->limit, may));
}

/* What cannot be noted is fetched again, should another file of it change. */
static void note_etags(struct fetch *f, const struct listing *l,
		       const char *tree)
{
	cleanup_free struct shelf_etag *rows = mem_alloc(l->n * sizeof *rows);

	for (size_t i = 0; i < l->n; i++)
		rows[i] = (struct shelf_etag){l->files[i].path,
					      source_file_mark(&l->files[i])};
	shelf_put_etags(&f->shelf, f->name, tree, rows, l->n, NULL);
}

static int publish(struct fetch *f, const struct listing *l,
		   const struct shelf_file *files)
{
	char tree[SHA256_HEX];
	struct shelf_ref ref;
	struct err err = {0};

	if (shelf_publish(&f->shelf, f->name, l->etag, files, l->n, tree,
			  &err) != 0 ||
	    shelf_find(&f->shelf, f->name, &ref, &err) != 0)
		return failure_from(&f->why, &err);
	note_etags(f, l, ref.tree);
	report_ready(&f->report, "ready", &f->shelf, &ref);
	shelf_ref_fini(&ref);
	return 0;
}

static int bring(struct fetch *f, struct listing *l, struct parts *parts)
{
	struct transfer_job job = {
		.shelf = &f->shelf,
		.client = &f->client,
		.source = &f->source,
		.listing = l,
		.parts = parts,
		.report = &f->report,
		.limit = f->limit,
	};
	cleanup_free struct shelf_file *files = NULL;

	if (check_limit(f, l) != 0)
		return -1;
	listing_recall(l, &f->shelf, f->name);
	if (transfer_run(&job, &files, &f->why) != 0)
		return -1;
	return publish(f, l, files);
}

static int list(struct fetch *f, struct listing *l)
{
	if (f->source.list(&f->source, l, &f->why) != 0)
		return -1;
	return listing_check(l, f->source.shown, &f->why);
}

/* True: nothing is to be fetched, and that was told. */
static bool tell_same(struct fetch *f, const struct listing *l)
{
	struct shelf_ref ref;

	if (!is_same(f, l, &ref))
		return false;
	/* That it cannot be noted does not make it another. */
	shelf_checked(&f->shelf, f->name, NULL);
	report_ready(&f->report, "same", &f->shelf, &ref);
	shelf_ref_fini(&ref);
	return true;
}

/* Lists, and fetches what is not there yet. */
static int pull_once(struct fetch *f, struct parts *parts)
{
	struct listing l;
	int rc;

	listing_init(&l);
	rc = list(f, &l);
	if (rc == 0 && tell_same(f, &l)) {
		parts_clear(parts);
	} else if (rc == 0) {
		rc = bring(f, &l, parts);
		if (rc == 0)
			parts_clear(parts);
		else if (f->why.code == FAIL_CHANGED)
			for (size_t i = 0; i < l.n; i++)
				parts_drop(parts, i);
	}
	listing_fini(&l);
	return rc;
}

/* What changes under a pull's feet is begun anew, once. */
static int pull(struct fetch *f)
{
	struct parts parts;
	int rc;

	if (parts_open(&parts, &f->shelf, f->name, &f->why) != 0)
		return -1;
	rc = pull_once(f, &parts);
	if (rc != 0 && f->why.code == FAIL_CHANGED)
		rc = pull_once(f, &parts);
	parts_close(&parts);
	return rc;
}

static int check(struct fetch *f)
{
	struct listing l;
	int rc;

	listing_init(&l);
	rc = list(f, &l);
	if (rc == 0 && !tell_same(f, &l))
		report_changed(&f->report);
	listing_fini(&l);
	return rc;
}

static int run(struct fetch *f)
{
	struct err err = {0};
	int rc;

	if (shelf_open(&f->shelf, f->dir, &err) != 0)
		return failure_from(&f->why, &err);
	rc = client_init(&f->client, &f->why);
	if (rc != 0) {
		shelf_close(&f->shelf);
		return rc;
	}
	if (f->slow_s > 0)
		f->client.slow_s = f->slow_s;
	rc = source_open(&f->source, &f->client, f->url, &f->why);
	if (rc == 0) {
		report_listing(&f->report);
		rc = f->check ? check(f) : pull(f);
		source_close(&f->source);
	}
	client_fini(&f->client);
	shelf_close(&f->shelf);
	return rc;
}

int fetch_main(int argc, char **argv)
{
	struct fetch f = {0};
	int rc;

	if (!read_args(&f, argc, argv)) {
		fprintf(stderr, "soma: 'soma fetch' is started by the daemon, "
				"not by hand; 'soma models pull URL' fetches a "
				"model\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* an error of write, where it is looked at */
	umask(022);
	srandom((unsigned)time(NULL) ^ (unsigned)getpid());
	rc = run(&f);
	free(f.name);
	if (rc == 0)
		return 0;
	report_failed(&f.report, &f.why);
	return 1;
}
