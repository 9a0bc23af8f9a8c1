/* Models that a revision names: who fetches them with what, what they are
 * pinned to, and what is said of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>

#include "core/json.h"
#include "serve/model_parts.h"
#include "serve/model_pin.h"
#include "serve/serve.h"
#include "tmpdir.h"

#define TREE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

struct fixture {
	struct spec spec;
	struct revision rev;
	struct serve serve;
	struct api api;
	char name[8];
	char *dir; /* owned */
};

/* Revision 3 of iris, with these models. */
static struct fixture *make(const char *models_json)
{
	struct fixture *f = mem_alloc(sizeof *f);
	struct models *all = &f->serve.models;
	struct err err;

	strcpy(f->name, "iris");
	f->dir = tmpdir_make();
	f->serve.loop = uv_default_loop();
	map_init(&f->serve.secrets);
	map_init(&f->serve.apis);
	all->serve = &f->serve;
	all->dir = mem_strdup(f->dir);
	map_init(&all->by_key);
	assert_int_equal(shelf_open(&all->shelf, f->dir, &err), 0);
	f->api.serve = &f->serve;
	f->api.name = f->name;
	f->spec.predictor.models_json = models_json;
	f->rev.spec = &f->spec;
	f->rev.api = &f->api;
	f->rev.number = 3;
	f->rev.project_dir = f->dir;
	model_set_init(&f->rev.models, &f->rev);
	return f;
}

static void unmake(struct fixture *f)
{
	model_set_fini(&f->rev.models);
	shelf_close(&f->serve.models.shelf);
	map_fini(&f->serve.models.by_key);
	map_fini(&f->serve.apis);
	secrets_fini(&f->serve.secrets);
	free(f->serve.models.dir);
	tmpdir_remove(f->dir);
	free(f);
}

static void only_what_fetching_takes_reaches_it(void **state)
{
	static struct spec_var env[] = {
		{.name = "AWS_ACCESS_KEY_ID", .value = "id"},
		{.name = "LD_PRELOAD", .value = "/tmp/x.so"},
		{.name = "AWS_SECRET_ACCESS_KEY", .from_secret = "aws"},
		{.name = "PYTHONPATH", .value = "src"},
		{.name = "HF_TOKEN", .value = "hf"},
		{.name = "https_proxy", .value = "http://proxy"},
		{.name = "MY_AWS_KEY", .value = "no"},
	};
	static const char *const want[] = {
		"AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=key",
		"HF_TOKEN=hf", "https_proxy=http://proxy"};
	struct fixture *f = make(NULL);
	struct err err = {0};
	char **got;

	(void)state;
	f->spec.predictor.env = env;
	f->spec.predictor.n_env = ARRAY_LEN(env);
	assert_null(model__env(&f->serve, &f->spec, &err));
	assert_non_null(strstr(err.msg, "the secret 'aws' that env "
					"AWS_SECRET_ACCESS_KEY wants"));
	assert_non_null(strstr(err.msg, "soma secret set aws"));
	secret_set(&f->serve.secrets, "aws", "key", 0);
	got = model__env(&f->serve, &f->spec, &err);
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(got[i], want[i]);
	assert_null(got[ARRAY_LEN(want)]);
	model__env_free(got);
	got = model__env(&f->serve, NULL, &err);
	assert_null(got[0]);
	model__env_free(got);
	unmake(f);
}

static void has_name(char **env, bool own)
{
	static const char url[] = "s3://b/m";
	cleanup_free char *name = model__name(url, env);

	assert_memory_equal(name, url, strlen(url));
	assert_int_equal(strlen(name), own ? strlen(url) + 65 : strlen(url));
}

/* Another who asks gets the same there; another who is asked may tell lies. */
static void who_is_asked_makes_another_model(void **state)
{
	char *none[] = {NULL};
	char *who[] = {"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
		       "HF_TOKEN=c", NULL};
	char *where[] = {"AWS_ACCESS_KEY_ID=a", "AWS_ENDPOINT_URL=http://here",
			 NULL};
	char *other[] = {"AWS_ENDPOINT_URL=http://there", NULL};
	cleanup_free char *here = model__name("s3://b/m", where);
	cleanup_free char *there = model__name("s3://b/m", other);

	(void)state;
	has_name(none, false);
	has_name(who, false);
	has_name(where, true);
	assert_string_not_equal(here, there);
	assert_string_equal(strchr(here, '\n') + 65, "");
}

static void make_tree(struct fixture *f, const char *tree)
{
	cleanup_free char *path = shelf_tree_path(&f->serve.models.shelf, tree);

	assert_int_equal(mkdir(path, 0755), 0);
}

static void lead(struct fixture *f, const char *pin, const char *tree)
{
	cleanup_free char *path = shelf_tree_path(&f->serve.models.shelf, tree);
	struct err err;

	assert_int_equal(pin_set(pin, path, &err), 0);
}

static void leads_to(struct fixture *f, const char *pin, const char *tree)
{
	char got[SHA256_HEX] = "";
	cleanup_free char *path = pin_read(&f->serve.models, pin, got);

	if (!tree) {
		assert_null(path);
		return;
	}
	assert_non_null(path);
	assert_string_equal(got, tree);
}

static void a_pin_says_which_tree_is_used(void **state)
{
	struct fixture *f = make(NULL);
	cleanup_free char *pin = pin_path(&f->rev, "a");

	(void)state;
	assert_non_null(strstr(pin, "/pins/iris-3/a"));
	leads_to(f, pin, NULL);
	make_tree(f, TREE);
	make_tree(f, OTHER);
	lead(f, pin, TREE);
	leads_to(f, pin, TREE);
	lead(f, pin, OTHER);
	leads_to(f, pin, OTHER);
	pins_remove(&f->rev);
	leads_to(f, pin, NULL);
	unmake(f);
}

static void a_pin_to_what_is_gone_is_none(void **state)
{
	struct fixture *f = make(NULL);
	cleanup_free char *pin = pin_path(&f->rev, "a");
	struct err err;

	(void)state;
	lead(f, pin, TREE);
	leads_to(f, pin, NULL);
	assert_int_equal(pin_set(pin, "/etc/passwd", &err), 0);
	leads_to(f, pin, NULL);
	unmake(f);
}

static void says(const struct model_set *set, const char *want)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	cleanup_free char *got = NULL;

	yyjson_mut_doc_set_root(doc, model_set_config(set, doc));
	got = json_write(doc, NULL);
	assert_string_equal(got, want);
}

static void config_says_where_models_are(void **state)
{
	struct fixture *f =
		make("{\"paths\":[{\"name\":\"own\",\"path\":\"m/a\"},"
		     "{\"name\":\"tmp\",\"path\":\"/tmp\"},"
		     "{\"name\":\"url\",\"path\":\"file:///tmp\"}],"
		     "\"cache_size\":null,\"disk_cache_size\":null}");
	cleanup_free char *want = mem_printf(
		"{\"paths\":[{\"name\":\"own\",\"path\":{\"path\":\"%s/m/a\","
		"\"source\":\"m/"
		"a\",\"in_place\":true}},{\"name\":\"tmp\",\"path\":{\"path\":"
		"\"/tmp\",\"source\":\"/"
		"tmp\",\"in_place\":true}},{\"name\":\"url\",\"path\":{"
		"\"path\":\"/tmp\",\"source\":\"file:///"
		"tmp\",\"in_place\":true}}],\"cache_size\":"
		"null,\"disk_cache_size\":null}",
		f->dir);
	const char *needs[3];

	(void)state;
	assert_int_equal(model_set_step(&f->rev.models), MODELS_THERE);
	says(&f->rev.models, want);
	assert_int_equal(model_set_needs(&f->rev.models, needs), 3);
	assert_string_equal(needs[1], "/tmp");
	assert_null(model_set_hub(&f->rev.models));
	unmake(f);
}

static void nothing_is_said_of_no_models(void **state)
{
	struct fixture *f = make(NULL);

	(void)state;
	assert_int_equal(model_set_step(&f->rev.models), MODELS_THERE);
	says(&f->rev.models, "null");
	unmake(f);
}

static void what_is_not_on_this_machine_is_told(void **state)
{
	struct fixture *f = make("{\"dir\":\"/no/such/place\"}");
	cleanup_free char *text = NULL;

	(void)state;
	f->spec.predictor.klass = CLASS_ONNX_PREDICTOR;
	model_set_fini(&f->rev.models);
	model_set_init(&f->rev.models, &f->rev);
	assert_int_equal(model_set_step(&f->rev.models), MODELS_MISSING);
	text = model_set_trouble(&f->rev.models);
	assert_string_equal(text,
			    "predictor.models.dir: /no/such/place is not on "
			    "this machine; put the model there, or correct the "
			    "path");
	unmake(f);
}

static void what_was_pinned_is_there_at_once(void **state)
{
	struct fixture *f = make("{\"path\":\"s3://bucket/m\"}");
	struct model_set *set = &f->rev.models;
	cleanup_free char *pin = pin_path(&f->rev, "_");
	cleanup_free char *want = NULL;
	const char **trees;
	size_t n;

	(void)state;
	make_tree(f, TREE);
	lead(f, pin, TREE);
	uv_timer_init(f->serve.loop, &f->serve.models.timer);
	assert_int_equal(model_set_step(set), MODELS_THERE);
	assert_null(set->items[0].model->process);
	want = mem_printf("{\"path\":{\"path\":\"%s\",\"source\":"
			  "\"s3://bucket/m\",\"in_place\":false}}",
			  pin);
	says(set, want); /* by the link, which may be turned */
	trees = models_in_use(&f->serve.models, &n);
	assert_int_equal(n, 1); /* the model's; the api is in no map here */
	assert_string_equal(trees[0], TREE);
	free(trees);
	uv_close((uv_handle_t *)&f->serve.models.timer, NULL);
	uv_run(f->serve.loop, UV_RUN_DEFAULT);
	unmake(f);
}

static void has_text(const char *hub, const char *path, const char *want)
{
	cleanup_free char *at = mem_printf("%s/%s", hub, path), *text = NULL;
	struct err err;
	size_t len;

	if (!want) {
		assert_int_not_equal(file_read(at, 100, &text, &len, &err), 0);
		return;
	}
	assert_int_equal(file_read(at, 100, &text, &len, &err), 0);
	assert_string_equal(text, want);
}

/* As `soma fetch` has told of it. */
static struct model hub_version(struct fixture *f, const char *commit,
				const char *tree)
{
	struct model m = {
		.etag = mem_strdup(commit),
		.path = shelf_tree_path(&f->serve.models.shelf, tree)};
	cleanup_free char *file = mem_printf("%s/config.json", m.path);
	struct err err;

	memcpy(m.tree, tree, sizeof m.tree);
	make_tree(f, tree);
	assert_int_equal(file_write(file, commit, strlen(commit), 0644, &err),
			 0);
	return m;
}

static void the_hubs_libraries_find_what_is_pinned(void **state)
{
	static const char first[] = "0123456789abcdef0123456789abcdef01234567";
	static const char then[] = "76543210fedcba9876543210fedcba9876543210";
	struct fixture *f = make(
		"{\"paths\":[{\"name\":\"a\",\"path\":\"hf://org/name@v1/x\"},"
		"{\"name\":\"b\",\"path\":\"hf://org/name@v2\"},"
		"{\"name\":\"c\",\"path\":\"s3://bucket/m\"}]}");
	struct model_item *items = f->rev.models.items;
	struct model one = hub_version(f, first, TREE);
	struct model two = hub_version(f, then, OTHER);
	cleanup_free char *hub = model_set_hub(&f->rev.models);
	struct err err;

	(void)state;
	assert_non_null(strstr(hub, "/pins/iris-3/.hub"));
	assert_int_equal(model_hub_put(&items[0], &one, &err), 0);
	assert_int_equal(model_hub_put(&items[1], &two, &err), 0);
	assert_int_equal(model_hub_put(&items[2], &two, &err), 0);
	/* By its name alone it is the first of the two. */
	has_text(hub, "models--org--name/refs/main", first);
	has_text(hub, "models--org--name/refs/v1/x", first);
	has_text(hub, "models--org--name/refs/v2", then);
	has_text(hub,
		 "models--org--name/snapshots/"
		 "0123456789abcdef0123456789abcdef01234567/config.json",
		 first);
	/* What is new goes before, and what has gone leaves no name. */
	tmpdir_remove(mem_strdup(one.path));
	assert_int_equal(model_hub_put(&items[0], &two, &err), 0);
	has_text(hub, "models--org--name/refs/main", then);
	has_text(hub, "models--org--name/refs/v1/x", then);
	has_text(hub,
		 "models--org--name/snapshots/"
		 "0123456789abcdef0123456789abcdef01234567/config.json",
		 NULL);
	free(one.etag);
	free(one.path);
	free(two.etag);
	free(two.path);
	unmake(f);
}

static void what_memory_cannot_hold_is_told(void **state)
{
	static const char *const model =
		"{\"path\":\"hf://org/name\",\"open\":true}";
	struct fixture *f = make(model);
	struct model_set *set = &f->rev.models;
	cleanup_free char *text = NULL;

	(void)state;
	f->serve.memory_limit = UINT64_C(4) << 20;
	assert_null(model_set_large_text(set)); /* it is not known yet */
	set->items[0].bytes = UINT64_C(4) << 20;
	assert_null(model_set_large_text(set));
	set->items[0].bytes = UINT64_C(5) << 20;
	text = model_set_large_text(set);
	assert_non_null(text);
	assert_non_null(strstr(text, "its model has 5.0 MiB, which is more "
				     "than the 4.0 MiB of memory"));
	assert_non_null(strstr(text, "up to 5.0 MiB for a request"));
	/* These are loaded by the api's own code, as it likes. */
	set->live = true;
	assert_null(model_set_large_text(set));
	unmake(f);
}

static void how_far_a_model_is(void **state)
{
	struct model m = {.shown = (char *)(uintptr_t) "hf://org/name",
			  .doing = "fetching",
			  .state = MODEL_FETCHING};
	cleanup_free char *first = model_progress_text(&m), *second = NULL;

	(void)state;
	assert_string_equal(first, "fetching hf://org/name");
	assert_true(model_eta_s(&m) < 0);
	m.done = 1 << 20;
	m.total = 5 << 20;
	m.rate = 2 << 20;
	second = model_progress_text(&m);
	assert_string_equal(second, "fetching hf://org/name: 1.0 MiB of 5.0 "
				    "MiB, 2.0 MiB/s, 2.0 s left");
	assert_true(model_eta_s(&m) == 2.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_fetching_takes_reaches_it),
		cmocka_unit_test(who_is_asked_makes_another_model),
		cmocka_unit_test(a_pin_says_which_tree_is_used),
		cmocka_unit_test(a_pin_to_what_is_gone_is_none),
		cmocka_unit_test(config_says_where_models_are),
		cmocka_unit_test(nothing_is_said_of_no_models),
		cmocka_unit_test(what_is_not_on_this_machine_is_told),
		cmocka_unit_test(what_was_pinned_is_there_at_once),
		cmocka_unit_test(the_hubs_libraries_find_what_is_pinned),
		cmocka_unit_test(what_memory_cannot_hold_is_told),
		cmocka_unit_test(how_far_a_model_is),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
