/* proof.c: whether a replica that was forked answers as one does that was
 * started from its program: by the sample that the model's own host tells of.
 *
 *   one that was started ── READY ── sample ──▶ its answer is kept
 *   the first that is forked from a level ── READY ── sample ──▶ the same?
 *        yes: it is ready, and all of that level after it at once
 *        no: that level is too deep, once and for good
 */
#include <signal.h>
#include <string.h>

#include "core/mem.h"
#include "serve/replica_parts.h"

enum { ANSWER_MS = 5000 };

static void on_learned(void *data, const struct http_told *told);
static void on_proof(void *data, const struct http_told *told);

static void ask(struct replica *r,
		void (*done)(void *data, const struct http_told *told))
{
	const struct http_question q = {
		.method = "POST",
		.path = "/",
		.headers = "Content-Type: application/json\r\n",
		.body = str_of(r->rev->sample),
		.digest = true,
		.timeout_ms = ANSWER_MS,
	};

	r->probing = true;
	http_ask(&r->up, &q, done, r);
}

void replica__proof_learn(struct replica *r)
{
	struct revision *rev = r->rev;

	if (rev->sample && !rev->answer && !r->probing &&
	    !cold_tier_is_forked(r->tier) && zygote_may_be(&rev->zygote))
		ask(r, on_learned);
}

static void on_learned(void *data, const struct http_told *told)
{
	struct replica *r = data;

	r->probing = false;
	if (r->state == REPLICA_GONE)
		replica__maybe_free(r);
	else if (told->status && !r->rev->answer)
		r->rev->answer =
			mem_printf("%u %s", told->status, told->digest);
}

bool replica__proof_waits(struct replica *r)
{
	struct revision *rev = r->rev;

	if (r->state != REPLICA_STARTING || !cold_tier_is_forked(r->tier) ||
	    rev->zygote.proved || !rev->answer || !rev->sample)
		return false;
	if (!r->probing)
		ask(r, on_proof);
	return true;
}

static void on_proof(void *data, const struct http_told *told)
{
	struct replica *r = data;
	cleanup_free char *answer =
		mem_printf("%u %s", told->status, told->digest);

	r->probing = false;
	if (r->state == REPLICA_GONE) {
		replica__maybe_free(r);
		return;
	}
	/* It died meanwhile, or is not wanted any more. */
	if (r->state != REPLICA_STARTING || !r->process ||
	    r->process->state == PROCESS_EXITED)
		return;
	if (strcmp(answer, r->rev->answer) == 0) {
		r->rev->zygote.proved = true;
		replica__ready(r);
		/* What else READY said is said again. */
		process_send(r->process, FRAME_QUERY, 0, NULL);
		return;
	}
	zygote_blame(&r->rev->zygote,
		     told->status
			     ? "a forked replica answers the model's sample "
			       "otherwise than one that was started"
			     : "a forked replica does not answer the model's "
			       "sample",
		     false);
	r->spurned = true;
	process_signal(r->process, SIGKILL);
}
