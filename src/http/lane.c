#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "http/internal.h"

static void on_sweep(uv_timer_t *timer);
static void on_before_poll(uv_prepare_t *prepare);
static void on_after_poll(uv_check_t *check);

int lane_init(struct lane *lane, uv_loop_t *loop)
{
	unsigned char seed[6];
	int rc;

	*lane = (struct lane){.loop = loop};
	rc = uv_random(NULL, NULL, seed, sizeof seed, 0, NULL);
	if (rc < 0)
		return E_IO;
	signal(SIGPIPE, SIG_IGN);
	str_hex(seed, sizeof seed, lane->id_seed);
	list_init(&lane->free_conns);
	list_init(&lane->free_reqs);
	list_init(&lane->free_links);
	list_init(&lane->servers);
	list_init(&lane->upstreams);
	list_init(&lane->ripe);
	list_init(&lane->waiting);
	list_init(&lane->left);
	lane->read_buf = mem_grow(NULL, LANE_READ_SIZE);
	uv_timer_init(loop, &lane->sweep);
	uv_unref((uv_handle_t *)&lane->sweep);
	uv_prepare_init(loop, &lane->before_poll);
	uv_prepare_start(&lane->before_poll, on_before_poll);
	uv_unref((uv_handle_t *)&lane->before_poll);
	uv_check_init(loop, &lane->after_poll);
	uv_check_start(&lane->after_poll, on_after_poll);
	uv_unref((uv_handle_t *)&lane->after_poll);
	uv_idle_init(loop, &lane->hurry);
	return 0;
}

void lane_fini(struct lane *lane)
{
	struct list *it, *tmp;

	assert(list_empty(&lane->servers) && list_empty(&lane->upstreams));
	LIST_EACH (&lane->free_conns, it, tmp)
		free(LIST_ENTRY(it, struct conn, link));
	LIST_EACH (&lane->free_reqs, it, tmp)
		free(LIST_ENTRY(it, struct request, link));
	LIST_EACH (&lane->free_links, it, tmp)
		free(LIST_ENTRY(it, struct link, node));
	list_init(&lane->free_conns);
	list_init(&lane->free_reqs);
	list_init(&lane->free_links);
	free(mem_take(&lane->read_buf));
	uv_close((uv_handle_t *)&lane->sweep, NULL);
	uv_close((uv_handle_t *)&lane->before_poll, NULL);
	uv_close((uv_handle_t *)&lane->after_poll, NULL);
	uv_close((uv_handle_t *)&lane->hurry, NULL);
}

void lane__alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret_buf)
{
	/* Each user keeps its lane where h->data leads; the lane is the loop's,
	 * but a loop may have other users of loop->data. */
	struct lane *lane = h->data;

	(void)hint;
	*ret_buf = uv_buf_init(lane->read_buf, LANE_READ_SIZE);
}

/* Ripe connections */

void conn__ripe(struct conn *c)
{
	struct lane *lane = c->lane;

	if (c->state == CONN_CLOSING || !list_empty(&c->ripe))
		return;
	/* The loop must not end with work undone. */
	if (list_empty(&lane->ripe))
		uv_ref((uv_handle_t *)&lane->before_poll);
	list_push_back(&lane->ripe, &c->ripe);
}

void lane__run(struct lane *lane)
{
	while (!list_empty(&lane->ripe)) {
		struct conn *c = LIST_ENTRY(lane->ripe.next, struct conn, ripe);

		list_remove(&c->ripe);
		conn__step(c);
	}
	uv_unref((uv_handle_t *)&lane->before_poll);
}

/* Whatever a timer or somebody else's callback has asked for is done before
 * the loop sleeps. */
static void on_before_poll(uv_prepare_t *prepare)
{
	lane__run(CONTAINER_OF(prepare, struct lane, before_poll));
}

/* Clients that have left */

static void on_hurry(uv_idle_t *hurry)
{
	(void)hurry; /* its being there keeps the loop from sleeping */
}

void lane__close_later(struct lane *lane, struct conn *c)
{
	uv_read_stop(&c->h.stream);
	list_push_back(&lane->left, &c->link);
	lane->n_left++;
	uv_idle_start(&lane->hurry, on_hurry);
}

/* A share of them each turn: never so few that more come than go. */
static void on_after_poll(uv_check_t *check)
{
	struct lane *lane = CONTAINER_OF(check, struct lane, after_poll);
	unsigned n = MAX(lane->n_left / CLOSES_SHARE, CLOSES_MIN);

	for (n = MIN(n, lane->n_left); n > 0; n--) {
		struct conn *c = LIST_ENTRY(lane->left.next, struct conn, link);

		list_remove(&c->link);
		lane->n_left--;
		conn__close_socket(c);
	}
	if (!lane->n_left)
		uv_idle_stop(&lane->hurry);
}

/* Timeouts */

void lane__watch(struct lane *lane)
{
	if (!uv_is_active((uv_handle_t *)&lane->sweep))
		uv_timer_start(&lane->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

static void sweep_server(struct http_server *s, uint64_t now)
{
	struct list *it, *tmp;

	LIST_EACH (&s->conns, it, tmp)
		conn__sweep(LIST_ENTRY(it, struct conn, link), now);
	/* Oldest first, all with the same timeout. */
	LIST_EACH (&s->idle, it, tmp) {
		struct conn *c = LIST_ENTRY(it, struct conn, link);

		if (now - c->stamp_ms < s->opts.limits->idle_timeout_ms)
			break;
		conn__close(c);
	}
}

static void retry_waiting(struct lane *lane)
{
	struct list now, *it;

	if (list_empty(&lane->waiting))
		return;
	now = lane->waiting;
	now.next->prev = now.prev->next = &now;
	list_init(&lane->waiting);
	while (!list_empty(&now)) {
		it = now.next;
		list_remove(it);
		proxy__open(CONTAINER_OF(it, struct request, proxy.waiting));
	}
}

/* malloc keeps what lies below anything that lives, which is nearly all that a
 * crowd leaves behind: requests first, and their connections, which take longer
 * to close, after them. */
static void give_back(struct lane *lane)
{
	uint64_t crowd = lane->n_reqs + lane->n_conns;
	uint64_t most = MAX(lane->most_crowd, crowd);

	if (most - crowd > TRIM_CROWD && crowd < most / 2) {
		malloc_trim(0);
		most = crowd;
	}
	lane->most_crowd = most;
}

static void on_sweep(uv_timer_t *timer)
{
	struct lane *lane = CONTAINER_OF(timer, struct lane, sweep);
	uint64_t now = uv_now(lane->loop);
	struct list *it, *tmp;

	LIST_EACH (&lane->servers, it, tmp)
		sweep_server(LIST_ENTRY(it, struct http_server, link), now);
	LIST_EACH (&lane->upstreams, it, tmp)
		upstream__sweep(LIST_ENTRY(it, struct http_upstream, link),
				now);
	retry_waiting(lane);
	lane__run(lane);
	give_back(lane);
	if (lane->n_conns == 0 && lane->n_links == 0)
		uv_timer_stop(timer);
}

/* Date and ids */

const char *lane__date(struct lane *lane)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec != lane->date_s) {
		lane->date_s = now.tv_sec;
		gmtime_r(&now.tv_sec, &tm);
		/* The daemon never sets a locale: these names are English. */
		strftime(lane->date, sizeof lane->date,
			 "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return lane->date;
}

struct str lane__new_id(struct lane *lane, struct arena *mem)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t v = lane->id_next++;
	char *id = arena_alloc(mem, 24);

	/* 12 digits for this lane's life, then 12 that count. */
	memcpy(id, lane->id_seed, 12);
	for (int i = 23; i >= 12; i--, v >>= 4)
		id[i] = digits[v & 15];
	return (struct str){id, 24};
}

/* Free lists */

struct conn *lane__get_conn(struct lane *lane)
{
	struct conn *c;

	if (list_empty(&lane->free_conns))
		return mem_alloc(sizeof *c);
	c = LIST_ENTRY(lane->free_conns.next, struct conn, link);
	list_remove(&c->link);
	lane->n_free_conns--;
	memset(c, 0, sizeof *c);
	return c;
}

void lane__put_conn(struct lane *lane, struct conn *c)
{
	if (lane->n_free_conns >= MAX_FREE_CONNS) {
		free(c);
		return;
	}
	lane->n_free_conns++;
	list_push_front(&lane->free_conns, &c->link);
}

struct request *lane__get_req(struct lane *lane)
{
	struct request *r;

	if (list_empty(&lane->free_reqs)) {
		r = mem_grow(NULL, sizeof *r);
	} else {
		r = LIST_ENTRY(lane->free_reqs.next, struct request, link);
		list_remove(&r->link);
		lane->n_free_reqs--;
	}
	lane->n_reqs++;
	memset(r, 0, offsetof(struct request, room));
	return r;
}

void lane__put_req(struct lane *lane, struct request *r)
{
	lane->n_reqs--;
	if (lane->n_free_reqs >= MAX_FREE_REQS) {
		free(r);
		return;
	}
	lane->n_free_reqs++;
	list_push_front(&lane->free_reqs, &r->link);
}

struct link *lane__get_link(struct lane *lane)
{
	struct link *l;

	if (list_empty(&lane->free_links))
		return mem_alloc(sizeof *l);
	l = LIST_ENTRY(lane->free_links.next, struct link, node);
	list_remove(&l->node);
	lane->n_free_links--;
	memset(l, 0, sizeof *l);
	return l;
}

void lane__put_link(struct lane *lane, struct link *l)
{
	if (lane->n_free_links >= MAX_FREE_LINKS) {
		free(l);
		return;
	}
	lane->n_free_links++;
	list_push_front(&lane->free_links, &l->node);
}
