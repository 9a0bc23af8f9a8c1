#include "host/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/json.h"
#include "core/mem.h"

enum { SLOTS_MAX = 1024, BATCH_MAX = 1024 };

static char *host_dir(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	return slash ? mem_strndup(self, (size_t)(slash - self))
		     : mem_strdup(".");
}

static const char *text_of(struct arena *mem, yyjson_val *v)
{
	cleanup_free char *json = NULL;

	if (yyjson_is_str(v))
		return yyjson_get_str(v);
	json = json_write_val(v, NULL);
	return arena_strdup(mem, json);
}

static void read_options(struct config *c, yyjson_val *map)
{
	size_t i, n = yyjson_obj_size(map);
	yyjson_val *key, *value;

	c->options = mem_alloc((n + 1) * sizeof *c->options);
	yyjson_obj_foreach(map, i, n, key, value)
	{
		struct soma_option *o = &c->options[c->n_options++];

		o->key = yyjson_get_str(key);
		o->value = text_of(c->texts, value);
	}
}

int config_read(struct config *c, const char *json, size_t len, struct err *err)
{
	yyjson_val *root;
	int64_t slots, batch;

	*c = (struct config){.doc = json_parse(json, len, err)};
	if (!c->doc)
		return err_wrap(err, "CONFIG");
	c->texts = mem_alloc(sizeof(struct arena));
	arena_init(c->texts);
	c->host_dir = host_dir();
	root = yyjson_doc_get_root(c->doc);
	c->api = json_str(root, "api", "");
	c->replica = json_str(root, "replica", "");
	c->project = json_str(root, "project", NULL);
	c->engine = json_str(root, "engine", NULL);
	c->model = json_str(root, "model", NULL);
	c->library = json_str(root, "library", NULL);
	c->lib_dir = json_str(root, "lib_dir", NULL);
	slots = json_int(root, "threads", 1);
	c->slots = (uint32_t)MIN(MAX(slots, 1), SLOTS_MAX);
	c->threads = (uint32_t)MAX(json_int(root, "intra_op_threads", 1), 1);
	c->graph_optimization = json_str(root, "graph_optimization", "all");
	c->device = json_str(root, "execution_provider", "cpu");
	c->predict_timeout_ms =
		(uint64_t)MAX(json_int(root, "predict_timeout_ms", 0), 0);
	batch = json_int(root, "max_batch_size", 0);
	c->max_batch_size = (uint32_t)MIN(MAX(batch, 0), BATCH_MAX);
	c->batch_interval_ms =
		(uint64_t)MAX(json_int(root, "batch_interval_ms", 0), 0);
	c->latency_target_ms =
		(uint64_t)MAX(json_int(root, "latency_target_ms", 0), 0);
	c->max_body = (uint64_t)MAX(json_int(root, "max_body", 0), 0);
	c->log_level = json_str(root, "log_level", "info");
	c->zygote = json_str(root, "zygote", NULL) != NULL;
	read_options(c, yyjson_obj_get(root, "engine_options"));
	if (!c->engine)
		return err_set(err, E_INVALID, "CONFIG names no engine");
	return 0;
}

void config_fini(struct config *c)
{
	yyjson_doc_free(c->doc);
	if (c->texts)
		arena_fini(c->texts);
	free(c->texts);
	free(c->options);
	free(c->host_dir);
	*c = (struct config){0};
}

const char *config_batch_key(const struct config *c)
{
	return c->latency_target_ms ? "batching" : "server_side_batching";
}
