#include "stages.h"

#include "core/tally.h"

/* All under the lock. */
static struct tally done;   /* what is counted since the start */
static struct tally said;   /* what the daemon knows */
static uint64_t said_at_ms; /* 0: nothing was said yet */
static uint32_t n_pre;	    /* requests in pre_predict */
static struct buf text;	    /* of the frame; the looper's alone */

void stages_init(void)
{
	buf_init(&text, FRAME_PAYLOAD_MAX);
}

/* --- counting --------------------------------------------------------------
 */

void stages_pre_begin(void)
{
	n_pre++;
}

uint32_t stages_in_pre(void)
{
	return n_pre;
}

void stages_pre_end(struct request *r, uint64_t ns)
{
	n_pre--;
	r->pre_ns = ns;
	if (ns && !r->counted)
		tally_pre(&done, ns);
}

void stages_predicted(struct request *r, uint32_t n)
{
	if (r->called_ns && !r->counted)
		tally_call(&done, n, r->returned_ns - r->called_ns);
	r->counted = true;
}

void stages_post_failed(void)
{
	done.post_errors++;
}

void stages_gone(const struct request *r)
{
	switch (r->state) {
	case REQUEST_PRE:
		done.gone_pre++;
		break;
	case REQUEST_QUEUED:
		done.gone_ready++;
		break;
	case REQUEST_RUNNING:
		done.gone_predict++;
		break;
	default:
		break;
	}
}

/* --- telling ---------------------------------------------------------------
 */

static uint32_t length(const struct list *l)
{
	uint32_t n = 0;

	for (const struct list *it = l->next; it != l; it = it->next)
		n++;
	return n;
}

/* What there is now, but for the time of what runs: that changes always.
 * Returns it in ns. */
static uint64_t look(struct tally *ret)
{
	uint64_t now = now_ns(), running = 0;

	*ret = done;
	ret->pre = n_pre;
	ret->ready = length(&worker.queue);
	ret->post = worker.n_posts;
	for (unsigned i = 0; worker.n_busy && i < worker.n_slots; i++) {
		const struct slot *s = &worker.slots[i];

		if (!s->request)
			continue;
		ret->predict += MAX(length(&s->batch), 1u);
		ret->busy++;
		running += now - s->taken_ns;
	}
	return running;
}

static bool is_active(void)
{
	return worker.n_busy || worker.n_posts || n_pre ||
	       !list_empty(&worker.queue);
}

bool stages_told(void)
{
	struct tally now;

	look(&now);
	return tally_same(&now, &said);
}

void stages_forget(void)
{
	said = (struct tally){.ready = UINT32_MAX};
	poll_rouse();
}

static void tell(const struct tally *now, uint64_t running)
{
	struct tally t = *now;
	bool sent;

	t.busy_ns = t.calls_ns + running;
	buf_reset(&text);
	tally_write(&t, &text);
	worker_unlock();
	sent = control_send(FRAME_STAGES, t.pre + t.ready + t.predict,
			    text.data, text.len, false);
	worker_lock();
	if (!sent)
		stages_forget(); /* the channel is full: once more */
}

int stages_tell(void)
{
	uint64_t now = now_ms(), due = said_at_ms + STAGES_EVERY_MS;
	struct tally seen;
	uint64_t running;

	if (worker.state == WORKER_LOADING)
		return -1;
	if (now < due)
		return (int)(due - now);
	running = look(&seen);
	if (tally_same(&seen, &said))
		return is_active() ? STAGES_EVERY_MS : -1;
	said = seen;
	said_at_ms = now;
	tell(&seen, running);
	return STAGES_EVERY_MS;
}

/* --- timing ----------------------------------------------------------------
 */

static void add_part(struct buf *head, const char *name, uint64_t from,
		     uint64_t to)
{
	buf_adds(head, name);
	buf_addu(head, to > from ? (to - from) / 1000 : 0);
}

void stages_add_timing(const struct request *r, struct buf *head)
{
	uint64_t now = now_ns();

	buf_adds(head, "soma-timing:");
	if (r->pre_ns)
		add_part(head, " pre=", 0, r->pre_ns);
	add_part(head, r->batched ? " batch=" : " ready=", r->queued_ns,
		 r->taken_ns ? r->taken_ns : now);
	if (r->called_ns)
		add_part(head, " predict=", r->called_ns,
			 r->returned_ns && !r->stream ? r->returned_ns : now);
	buf_adds(head, "\r\n");
}
