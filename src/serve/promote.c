/* promote.c: other weights for a splitter, by hand. */
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/api.h"

/* Whom it is about where nobody is named: the newcomer of two. */
static struct splitter_target *chosen(const struct api *a, const char *name,
				      struct err *err)
{
	const struct splitter *sp = a->splitter;
	struct splitter_target *t, *last = NULL;
	size_t n = 0;

	if (name) {
		t = splitter_target(a, name);
		if (!t)
			err_set(err, E_NOTFOUND,
				"the TrafficSplitter '%s' has no api '%s' "
				"('soma get %s' shows those that it has)",
				a->name, name, a->name);
		else if (t->shadow)
			err_set(err, E_INVALID,
				"'%s' is the shadow of '%s', which answers "
				"nobody: take 'shadow: true' out of the file "
				"and deploy that",
				name, a->name);
		return t && !t->shadow ? t : NULL;
	}
	if (sp->ramp)
		return sp->ramp->target;
	for (size_t i = 0; i < sp->n; i++)
		if (!sp->targets[i].shadow) {
			last = &sp->targets[i];
			n++;
		}
	if (n == 2)
		return last;
	err_set(err, E_INVALID,
		"'%s' has %zu apis that answer: say which is to be promoted "
		"(soma promote %s API)",
		a->name, n, a->name);
	return NULL;
}

/* The others share what is left as they did: `sum` of theirs becomes `left`.
 * Rounded down; who comes first has what that leaves over. */
static uint32_t part(uint32_t weight, uint32_t left, uint32_t sum)
{
	return sum ? weight * left / sum : 0;
}

void splitter_weights(const struct splitter *sp,
		      const struct splitter_target *up, uint32_t weight,
		      uint32_t *ret)
{
	uint32_t sum = 100 - up->declared, left = 100 - weight, given = 0;

	for (size_t i = 0; i < sp->n; i++) {
		const struct splitter_target *t = &sp->targets[i];

		ret[i] = t->shadow ? t->weight
			 : t == up ? weight
				   : part(t->declared, left, sum);
		if (!t->shadow && t != up)
			given += ret[i];
	}
	for (size_t i = 0; i < sp->n && given < left; i++)
		if (!sp->targets[i].shadow && &sp->targets[i] != up &&
		    (sp->targets[i].declared || !sum)) {
			ret[i] += sum ? 1 : left;
			given += sum ? 1 : left;
		}
}

void splitter_set_weights(struct splitter *sp, const struct splitter_target *up,
			  uint32_t weight)
{
	uint32_t *weights = mem_alloc(sp->n * sizeof *weights);

	splitter_weights(sp, up, weight, weights);
	for (size_t i = 0; i < sp->n; i++) {
		if (sp->targets[i].shadow)
			continue;
		sp->targets[i].weight = sp->shares[i].weight = weights[i];
	}
	free(weights);
}

static char *with_weights(const struct api *a, const uint32_t *weights)
{
	const char *json = a->want->spec_json;
	cleanup_json yyjson_doc *doc = json_parse(json, strlen(json), NULL);
	cleanup_json_mut yyjson_mut_doc *out = yyjson_doc_mut_copy(doc, NULL);
	yyjson_mut_val *val, *top = yyjson_mut_obj_get(
				     yyjson_mut_doc_get_root(out), "splitter");
	yyjson_mut_val *list = yyjson_mut_obj_get(top, "apis");
	size_t i, n;

	yyjson_mut_obj_remove_key(top, "canary");

	yyjson_mut_arr_foreach(list, i, n, val) yyjson_mut_set_uint(
		yyjson_mut_obj_get(val, "weight"), weights[i]);
	return json_write(out, NULL);
}

int splitter_promote(const struct api *a, const char *name, uint32_t weight,
		     char **ret_spec_json, char **ret_name, struct err *err)
{
	struct splitter_target *up;
	uint32_t *weights;

	if (!a->splitter || !a->want)
		return err_set(err, E_INVALID,
			       "'%s' is no TrafficSplitter: only one of those "
			       "has weights",
			       a->name);
	up = chosen(a, name, err);
	if (!up)
		return err->code;
	if (a->splitter->n == 1 && weight != 100)
		return err_set(
			err, E_INVALID,
			"'%s' is the only api of '%s': its weight is 100",
			up->name, a->name);
	weights = mem_alloc(a->splitter->n * sizeof *weights);
	splitter_weights(a->splitter, up, weight, weights);
	*ret_spec_json = with_weights(a, weights);
	*ret_name = mem_strdup(up->name);
	free(weights);
	return 0;
}
