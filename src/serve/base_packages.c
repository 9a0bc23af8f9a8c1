#include "serve/base_packages.h"

#include <assert.h>
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "core/mem.h"
#include "loop/file.h"
#include "serve/imports.h"

/* A project has few files of its own; somebody else's code, sent along by
 * mistake, must not hold up everything. */
enum {
	FILES_MAX = 2000,
	FILE_MAX = 1 << 20,
	BYTES_MAX = 16 << 20, /* of all: some hundred ms */
	DEPTH_MAX = 16,
};

struct row {
	const char *module;   /* as it is imported, and all below it */
	const char *packages; /* what has it; the first is installed */
};

/* What the images python-predictor-cpu and onnx-predictor-cpu of Cortex 0.25 to
 * 0.35 had, and of what those brought along the modules that people import. On
 * a server opencv wants no windows, and tensorflow here no GPU. */
static const struct row table[] = {
	{"PIL", "pillow|pillow-simd"},
	{"asgiref", "asgiref"},
	{"boto3", "boto3"},
	{"botocore", "botocore|boto3|aiobotocore"},
	{"click", "click"},
	{"cloudpickle", "cloudpickle"},
	{"cv2", "opencv-python-headless|opencv-python|opencv-contrib-python|"
		"opencv-contrib-python-headless"},
	{"cython", "cython"},
	{"Cython", "cython"},
	{"datadog", "datadog"},
	{"dateutil", "python-dateutil"},
	{"dill", "dill"},
	{"fastapi", "fastapi"},
	{"google.cloud", "google-cloud-storage"},
	{"google.protobuf", "protobuf"},
	{"grpc", "grpcio"},
	{"grpc_reflection", "grpcio-reflection"},
	{"grpc_tools", "grpcio-tools"},
	{"h5py", "h5py"},
	{"imageio", "imageio"},
	{"jinja2", "jinja2"},
	{"joblib", "joblib"},
	{"keras", "keras"},
	{"matplotlib", "matplotlib"},
	{"mpmath", "mpmath"},
	{"msgpack", "msgpack"},
	{"multipart", "python-multipart"},
	{"networkx", "networkx"},
	{"nltk", "nltk"},
	{"np_utils", "np-utils"},
	{"numpy", "numpy"},
	{"onnxruntime", "onnxruntime|onnxruntime-gpu"},
	{"pandas", "pandas"},
	{"patsy", "patsy"},
	{"pydantic", "pydantic"},
	{"pythonjsonlogger", "python-json-logger"},
	{"pytz", "pytz"},
	{"regex", "regex"},
	{"requests", "requests"},
	{"scipy", "scipy"},
	{"sentry_sdk", "sentry-sdk"},
	{"six", "six"},
	{"skimage", "scikit-image"},
	{"sklearn", "scikit-learn|scikit-learn-intelex"},
	{"starlette", "starlette|fastapi"},
	{"statsmodels", "statsmodels"},
	{"sympy", "sympy"},
	{"tensorflow", "tensorflow-cpu|tensorflow|tensorflow-gpu|"
		       "intel-tensorflow|tf-nightly"},
	{"tensorflow_hub", "tensorflow-hub"},
	{"tifffile", "tifffile"},
	{"torch", "torch"},
	{"torchvision", "torchvision"},
	{"tqdm", "tqdm"},
	{"urllib3", "urllib3"},
	{"uvicorn", "uvicorn"},
	{"uvloop", "uvloop"},
	{"xgboost", "xgboost|xgboost-cpu"},
	{"yaml", "pyyaml"},
};
static_assert(ARRAY_LEN(table) <= BASE_PACKAGES_MAX, "more rows than room");

struct search {
	const struct spec *spec;
	const char *project;
	bool imported[ARRAY_LEN(table)];
	unsigned files;
	size_t bytes;
};

static bool is_module(const char *root, const char *below, struct str name)
{
	cleanup_free char *file =
		mem_printf("%s/%s/%.*s.py", root, below, (int)name.n, name.p);
	cleanup_free char *package = mem_printf("%s/%s/%.*s/__init__.py", root,
						below, (int)name.n, name.p);

	return access(file, F_OK) == 0 || access(package, F_OK) == 0;
}

/* Whether the project has a module of that name, which then comes first. */
static bool is_own(const struct search *s, const char *module)
{
	struct str name = {module, strcspn(module, ".")};
	const char *path = s->spec->predictor.path;
	const char *slash = path ? strrchr(path, '/') : NULL;
	cleanup_free char *beside = mem_strndup(
		path ? path : "", slash ? (size_t)(slash - path) : 0);

	return is_module(s->project, ".", name) ||
	       (slash && is_module(s->project, beside, name)) ||
	       (s->spec->predictor.python_path &&
		is_module(s->project, s->spec->predictor.python_path, name));
}

static void on_import(void *data, struct str module)
{
	struct search *s = data;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct str row = str_of(table[i].module);

		if (*row.p == *module.p && str_starts(module, row) &&
		    (module.n == row.n || module.p[row.n] == '.'))
			s->imported[i] = true;
	}
}

static void look_at(struct search *s, const char *path)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int rc = file_read(path, FILE_MAX, &text, &len, NULL);

	/* What cannot be read here cannot be imported either, or is no file
	 * that somebody wrote. */
	if (rc == 0)
		imports_scan((struct str){text, len}, on_import, s);
	s->bytes += rc == E_TOOBIG ? (size_t)FILE_MAX : len;
	s->files++;
}

static bool is_python(const char *name)
{
	size_t n = strlen(name);

	return n > 3 && strcmp(name + n - 3, ".py") == 0;
}

static bool has_seen_enough(const struct search *s)
{
	return s->files >= FILES_MAX || s->bytes >= BYTES_MAX;
}

static void look_below(struct search *s, const char *dir, unsigned depth)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) && !has_seen_enough(s)) {
		cleanup_free char *path = mem_printf("%s/%s", dir, e->d_name);

		if (e->d_name[0] == '.')
			continue;
		if (e->d_type == DT_DIR && depth < DEPTH_MAX)
			look_below(s, path, depth + 1);
		else if (e->d_type != DT_DIR && is_python(e->d_name))
			look_at(s, path);
	}
	if (d)
		closedir(d);
}

static void add(struct package_rows *b, const char *packages)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->rows[i], packages) == 0)
			return;
	b->rows[b->n++] = packages;
}

void base_packages_imported(struct package_rows *b, const struct spec *spec,
			    const char *project_dir)
{
	struct search s = {.spec = spec, .project = project_dir};
	cleanup_free char *path = NULL;

	b->n = 0;
	if (!project_dir || spec->predictor.type != PREDICTOR_PYTHON ||
	    spec->predictor.base_packages != BASE_PACKAGES_CORTEX)
		return;
	/* First, so that whatever else lies there, it counts. */
	path = mem_printf("%s/%s", project_dir, spec->predictor.path);
	look_at(&s, path);
	look_below(&s, project_dir, 0);
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (s.imported[i] && !is_own(&s, table[i].module))
			add(b, table[i].packages);
}

void base_packages_needed(struct package_rows *b, const struct spec *spec)
{
	b->n = 0;
	if (spec->predictor.type != PREDICTOR_PYTHON ||
	    spec->predictor.klass != CLASS_ONNX_PREDICTOR)
		return;
	add(b, "onnxruntime|onnxruntime-gpu");
	add(b, "numpy");
}
