/* compare.c: what a shadow has answered beside what the client got. Small ones
 * at once, larger ones on libuv's pool, where nobody waits for them. */
#include "core/mem.h"
#include "serve/differ.h"
#include "serve/shadow_parts.h"

enum {
	AT_ONCE_MAX = 64 * 1024, /* bytes of both */
	ON_POOL_MAX = 2,	 /* comparisons at once: others want it, too */
};

static bool on_piece(struct message *m, const char *p, size_t n)
{
	struct shadow_answer *a = CONTAINER_OF(m, struct shadow_answer, in);

	buf_add(&a->body, p, n);
	return true;
}

static bool is_coded(const struct head *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		if (str_ieq(h->headers[i].name, STR("content-encoding")))
			return true;
	return false;
}

/* raw is an answer as it went over the wire. */
static void parse(struct shadow_answer *a, const struct buf *raw, bool to_head)
{
	const struct head_max max = {16 * 1024, 64 * 1024, 128};
	const char *p = raw->data ? raw->data : "";
	size_t at = 0, used = 0;

	*a = (struct shadow_answer){0};
	arena_init(&a->mem);
	buf_init(&a->body, MAX(raw->len, (size_t)1));
	do {
		if (at)
			message_fini(&a->in);
		message_init(&a->in, MESSAGE_RESPONSE);
		a->in.on_body = on_piece;
		a->in.to_head = to_head;
		if (message_head(&a->in, &a->mem, &max, p + at, raw->len - at,
				 &used) != MESSAGE_HEAD)
			return;
		at += used;
	} while (a->in.head.status < 200);
	a->status = a->in.head.status;
	a->coded = is_coded(&a->in.head);
	if (!a->in.complete)
		message_body(&a->in, p + at, raw->len - at);
	a->whole = (a->in.complete || message_eof(&a->in)) && !raw->full;
}

static void answer_fini(struct shadow_answer *a)
{
	message_fini(&a->in);
	arena_fini(&a->mem);
	buf_fini(&a->body);
}

static struct str body_of(const struct shadow_answer *a)
{
	return (struct str){a->body.data, a->body.len};
}

/* Touches the copy alone: may be on the pool. */
static void look(struct copy *c)
{
	parse(&c->ours, &c->main, c->to_head);
	parse(&c->its, &c->answer, c->to_head);
	c->compared = !c->main_gone && c->ours.whole && c->its.whole &&
		      !c->ours.coded && !c->its.coded;
	if (c->compared)
		c->differ = c->ours.status != c->its.status ||
			    answers_differ(body_of(&c->ours), body_of(&c->its),
					   c->tolerance, &c->largest);
}

/* It has not answered, or by an error where the client got none. */
static bool has_failed(const struct copy *c)
{
	unsigned ours = c->ours.status, its = c->its.status;

	return !its || (its >= 500 && ours < 500) ||
	       (!c->its.whole && !c->answer.full);
}

static void count(const struct copy *c, struct splitter_counts *n)
{
	if (has_failed(c)) {
		n->failed++;
	} else if (!c->compared) {
		n->not_compared++;
	} else {
		n->compared++;
		n->differ += c->differ;
		n->largest = MAX(n->largest, c->largest);
	}
}

static void over(struct copy *c)
{
	const struct api *a = map_get(&c->serve->apis, c->splitter);
	struct splitter_target *t = a ? splitter_target(a, c->target) : NULL;

	if (t)
		count(c, &t->n);
	answer_fini(&c->ours);
	answer_fini(&c->its);
	shadow__free(c);
}

static void to_pool(struct copy *c);

static void on_look(uv_work_t *work)
{
	look(CONTAINER_OF(work, struct copy, work));
}

/* The first of those that wait. */
static void next(struct serve *s)
{
	struct list *it, *tmp;

	LIST_EACH (&s->copies, it, tmp) {
		struct copy *c = LIST_ENTRY(it, struct copy, link);

		if (!c->waits)
			continue;
		to_pool(c);
		return;
	}
}

static void on_looked(uv_work_t *work, int status)
{
	struct copy *c = CONTAINER_OF(work, struct copy, work);
	struct serve *s = c->serve;

	s->comparing--;
	if (status)
		shadow__free(c); /* never begun */
	else
		over(c);
	next(s);
}

static void to_pool(struct copy *c)
{
	struct serve *s = c->serve;

	c->waits = s->comparing >= ON_POOL_MAX;
	if (c->waits)
		return;
	if (uv_queue_work(s->loop, &c->work, on_look, on_looked)) {
		shadow__free(c);
		return;
	}
	s->comparing++;
}

void shadow__compare(struct copy *c)
{
	/* What came late is cut off, whatever it looks like. */
	if (!c->ended)
		buf_reset(&c->answer);
	if (c->main.len + c->answer.len > AT_ONCE_MAX) {
		to_pool(c);
		return;
	}
	look(c);
	over(c);
}
