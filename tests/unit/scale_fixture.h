/* scale_fixture.h: an api with a live revision, for what decides how many
 * replicas it has. */
#ifndef TESTS_SCALE_FIXTURE_H
#define TESTS_SCALE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/explain.h"
#include "serve/scale_parts.h"
#include "serve/serve.h"

static const uint64_t SECOND = 1000000000;

/* An api with a live revision and no replica. */
struct fixture {
	struct spec spec;
	struct revision rev;
	struct serve serve;
	struct api api;
	char name[8];
};

static inline void init(struct fixture *f)
{
	*f = (struct fixture){.name = "iris"};
	f->spec.scale.max_replicas = 4;
	f->spec.scale.max_wait_ms = 100;
	f->spec.scale.target_in_flight = 2;
	f->spec.scale.down_period_ms = 300000;
	f->spec.scale.up_period_ms = 60000;
	f->spec.predictor.processes = 1;
	f->rev.spec = &f->spec;
	f->rev.api = &f->api;
	f->rev.state = REVISION_LIVE;
	list_init(&f->rev.replicas);
	list_init(&f->rev.gone);
	list_init(&f->serve.changed);
	f->serve.loop = uv_default_loop();
	f->api.serve = &f->serve;
	f->api.name = f->name;
	f->api.want = f->api.live = &f->rev;
	f->api.scale.asked_ns = uv_hrtime();
	f->api.scale.view.slots = 1;
}

static inline void tells(const struct fixture *f, const char *why,
			 const char *text)
{
	cleanup_free char *json = explain_json(&f->api);
	cleanup_json yyjson_doc *doc = json_parse(json, strlen(json), NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *line;
	bool found = false;
	size_t i, n;

	assert_string_equal(json_str(root, "why", ""), why);
	yyjson_arr_foreach(yyjson_obj_get(root, "text"), i, n, line) found |=
		strstr(yyjson_get_str(line), text) != NULL;
	if (!found)
		fail_msg("no '%s' in %s", text, json);
}

static inline void add(struct fixture *f, struct replica *r, unsigned index,
		       unsigned number, bool ready)
{
	*r = (struct replica){.rev = &f->rev, .index = index, .number = number};
	r->state = ready ? REPLICA_READY : REPLICA_STARTING;
	r->up_open = true;
	list_push_back(&f->rev.replicas, &r->link);
}

#endif
