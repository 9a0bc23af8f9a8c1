/*
 * What people are told of memory.
 */
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "serve/memory.h"
#include "serve/serve.h"
#include "serve/swap_parts.h"

static const uint64_t MS = 1000000;

/* Who gives memory to whoever waits now: "'a', 'b'". */
static char *yielding(const struct swap_look *l)
{
	char *text = mem_strdup("");

	for (size_t i = 0; i < l->view.n; i++) {
		char *longer;

		if (!l->models[i].yielding)
			continue;
		longer = mem_printf("%s%s'%s'", text, *text ? ", " : "",
				    l->revs[i]->api->name);
		free(text);
		text = longer;
	}
	return text;
}

static char *what_is_awaited(const struct swap_look *l,
			     const struct swap_step *step)
{
	cleanup_free char *names = yielding(l);
	const struct swap_model *m = &l->models[step->claimant];
	char patience[32];

	switch (step->why) {
	case SWAP_ROOM:
		return mem_strdup("there is room");
	case SWAP_IDLE:
	case SWAP_EMPTY:
		return mem_printf("'%s' makes room",
				  l->revs[step->model]->api->name);
	case SWAP_FAIR:
		return mem_printf("'%s' is sent nothing new from now on",
				  l->revs[step->model]->api->name);
	case SWAP_OVERDUE:
		return mem_printf("'%s' is not through with what it has, and "
				  "serves on for a while",
				  l->revs[step->model]->api->name);
	case SWAP_ENDING:
		return mem_strdup("what was let go has not ended yet");
	case SWAP_FINISHING:
		return mem_printf("%s %s sent nothing new, and %s when the "
				  "requests there are over",
				  names, strchr(names, ',') ? "are" : "is",
				  strchr(names, ',') ? "go" : "goes");
	case SWAP_PATIENCE:
		return mem_printf(
			"the others are busy, and one of them makes "
			"room when it is idle for a moment, or when "
			"this has waited for max_wait (%s)",
			str_human_ms((int64_t)(m->patience / MS), patience));
	case SWAP_DWELL:
		return mem_strdup("the others are busy, and have just been "
				  "loaded or serve on while a long request of "
				  "theirs lasts: each does for as long as its "
				  "loading took");
	case SWAP_ELSEWHERE:
		return mem_strdup("what may make room is not enough: the rest "
				  "is kept (min_replicas), or other programs "
				  "have it");
	case SWAP_NOBODY:
	case SWAP_TOO_LARGE:
		break;
	}
	return mem_strdup("it is looked at again soon");
}

char *swap_text(struct revision *rev)
{
	struct swap_look l = swap__look(rev->api->serve, NULL);
	struct swap_step step = swap_next(&l.view, &swap__rule);
	size_t i = swap__find(&l, rev), of = 0;
	size_t place = i == SIZE_MAX ? 0 : swap_place(&l.view, i, &of);
	char *text = NULL;

	if (place) {
		cleanup_free char *first = what_is_awaited(&l, &step);

		text = place == 1 && step.claimant == i
			       ? mem_printf("it is number 1 of %zu that wait "
					    "for memory: %s",
					    of, first)
			       : mem_printf("it is number %zu of %zu that wait "
					    "for memory, by how long they have",
					    place, of);
	}
	swap__look_fini(&l);
	return text;
}

static char *stay_text(const struct swap_look *l, size_t i)
{
	const struct swap_model *m = &l->models[i];
	size_t goes = swap_goes(&l->view, &swap__rule, i);
	char dwell[32], lull[32];

	if (m->state != SWAP_IN)
		return NULL;
	if (m->kept)
		return mem_strdup("It stays there whoever else wants the "
				  "memory (min_replicas, a schedule, a number "
				  "by hand, a rollout).");
	if (m->yielding)
		return mem_strdup("Others have waited for its memory for "
				  "longer than max_wait: it is sent nothing "
				  "new, and goes when its requests are over.");
	if (goes)
		return mem_printf("If others want the memory it is number %zu "
				  "to go: it is idle, and of those idle they "
				  "go first that save the least loading time "
				  "per byte.",
				  goes);
	str_human_ms((int64_t)(swap_dwell(m, &swap__rule) / MS), dwell);
	str_human_ms((int64_t)(swap__rule.lull / MS), lull);
	return mem_printf("If others want the memory it goes when it is idle "
			  "(no request for %s), or when they have waited for "
			  "max_wait, it has been there for %s, as long as its "
			  "loading took, and its requests are over.",
			  lull, dwell);
}

char *swap_stay_text(struct revision *rev)
{
	struct swap_look l = swap__look(rev->api->serve, NULL);
	size_t i = swap__find(&l, rev);
	char *text = i == SIZE_MAX ? NULL : stay_text(&l, i);

	swap__look_fini(&l);
	return text;
}

char *swap_need_text(const struct revision *rev)
{
	struct memory_need need = memory_need(rev);
	cleanup_free char *files = NULL;
	char own[32], shared[32];

	if (!need.from)
		return NULL;
	if (need.shared)
		files = mem_printf(" for itself, and all of them share %s of "
				   "files",
				   str_human_bytes(need.shared, shared));
	return mem_printf("A replica takes %s of memory (%s)%s.",
			  str_human_bytes(need.own, own), need.from,
			  files ? files : "");
}

static const char *state_word(const struct revision *rev)
{
	unsigned places = revision_places(rev) - revision_resting(rev);

	if (places)
		return revision_ready(rev) < places ? "loading" : "in";
	return memory_leaving(rev) ? "leaving" : "out";
}

void swap_put(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api *a)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, "memory");
	struct revision *rev = a->want;
	struct memory_need need = {0};
	char *waits = NULL;

	yyjson_mut_obj_add_uint(doc, o, "swaps", a->swaps);
	yyjson_mut_obj_add_uint(doc, o, "out_of_memory", a->ran_out);
	if (!rev)
		return;
	need = memory_need(rev);
	yyjson_mut_obj_add_uint(doc, o, "own_bytes", need.own);
	yyjson_mut_obj_add_uint(doc, o, "shared_bytes", need.shared);
	if (need.from)
		yyjson_mut_obj_add_str(doc, o, "from", need.from);
	else
		yyjson_mut_obj_add_null(doc, o, "from");
	yyjson_mut_obj_add_uint(doc, o, "looks", rev->measure.looks);
	yyjson_mut_obj_add_str(doc, o, "state", state_word(rev));
	yyjson_mut_obj_add_bool(doc, o, "yielding",
				revision_places(rev) &&
					revision_next_to_go(rev).yield_ns);
	/* What others do is looked at for those alone that wait. */
	if (rev->starving)
		waits = swap_text(rev);
	if (waits)
		yyjson_mut_obj_add_strcpy(doc, o, "waits", waits);
	else
		yyjson_mut_obj_add_null(doc, o, "waits");
	free(waits);
}
