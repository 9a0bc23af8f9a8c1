#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "onnx_parts.h"

#define REMEDY                                                                 \
	"Remedy: take libonnxruntime.so of ONNX Runtime 1.%d or newer (it is " \
	"in the Python package onnxruntime, folder capi) and put it into %s, " \
	"or name it with predictor.onnxruntime or SOMA_ONNXRUNTIME"

int onnx_fail(struct soma_error *error, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error->text, sizeof error->text, fmt, args);
	va_end(args);
	return code;
}

/* A file of the folder that is the library, whatever version ends its name: the
 * shortest name first, which is the one that people link to the newest. */
static bool find_in(const char *dir, char *path, size_t size)
{
	DIR *d = dir ? opendir(dir) : NULL;
	size_t best = SIZE_MAX;
	struct dirent *e;

	if (!d)
		return false;
	while ((e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (strncmp(e->d_name, "libonnxruntime.so", 17) != 0 ||
		    n >= best || (e->d_name[17] && e->d_name[17] != '.'))
			continue;
		best = n;
		snprintf(path, size, "%s/%s", dir, e->d_name);
	}
	closedir(d);
	return best != SIZE_MAX;
}

static const char *lib_dir(const struct soma_params *params)
{
	return params->lib_dir ? params->lib_dir
			       : "a folder of the system's library path";
}

static int open_named(struct onnx_library *l, const struct soma_params *params,
		      const char *path, const char *named_by, void **ret,
		      struct soma_error *error)
{
	if (path != l->path)
		snprintf(l->path, sizeof l->path, "%s", path);
	if (access(path, R_OK) < 0)
		return onnx_fail(error, SOMA_MISSING,
				 "ONNX Runtime's library '%s', named by %s, "
				 "cannot be read: %s. " REMEDY,
				 path, named_by, strerror(errno), ONNX_API,
				 lib_dir(params));
	*ret = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (*ret)
		return 0;
	return onnx_fail(error, SOMA_MISSING,
			 "ONNX Runtime's library, named by %s, cannot be "
			 "opened: %s. " REMEDY,
			 named_by, dlerror(), ONNX_API, lib_dir(params));
}

/* Beside the host, in the operator's folder, where the system looks. */
static int open_found(struct onnx_library *l, const struct soma_params *params,
		      void **ret, struct soma_error *error)
{
	static const char *const names[] = {"libonnxruntime.so.1",
					    "libonnxruntime.so"};
	const char *dirs[] = {params->host_dir, params->lib_dir};

	for (size_t i = 0; i < 2; i++)
		if (find_in(dirs[i], l->path, sizeof l->path))
			return open_named(l, params, l->path, "its place", ret,
					  error);
	for (size_t i = 0; i < 2; i++) {
		snprintf(l->path, sizeof l->path, "%s", names[i]);
		*ret = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		if (*ret)
			return 0;
	}
	return onnx_fail(error, SOMA_MISSING,
			 "ONNX Runtime's library (libonnxruntime.so) was not "
			 "found: it is not named by predictor.onnxruntime or "
			 "SOMA_ONNXRUNTIME, and neither in %s, nor in %s, nor "
			 "on the system's library path. " REMEDY,
			 params->host_dir, lib_dir(params), ONNX_API,
			 lib_dir(params));
}

static int take_api(struct onnx_library *l, void *library,
		    const struct soma_params *params, struct soma_error *error)
{
	const OrtApiBase *(*get)(void);
	const OrtApiBase *base;

	/* A function by an object's pointer: POSIX says that it is one. */
	*(void **)&get = dlsym(library, "OrtGetApiBase");
	base = get ? get() : NULL;
	if (!base)
		return onnx_fail(error, SOMA_MISSING,
				 "'%s' is not ONNX Runtime: it has no "
				 "OrtGetApiBase. " REMEDY,
				 l->path, ONNX_API, lib_dir(params));
	snprintf(l->version, sizeof l->version, "%s", base->GetVersionString());
	l->api = base->GetApi(ONNX_API);
	if (!l->api)
		return onnx_fail(
			error, SOMA_MISSING,
			"ONNX Runtime at '%s' is version %s, which is "
			"too old: 1.%d is the oldest that works. " REMEDY,
			l->path, l->version, ONNX_API, ONNX_API,
			lib_dir(params));
	return 0;
}

int onnx_library_open(struct onnx_library *l, const struct soma_params *params,
		      struct soma_error *error)
{
	const char *env = getenv("SOMA_ONNXRUNTIME");
	void *library = NULL;
	int rc;

	if (params->library)
		rc = open_named(l, params, params->library,
				"predictor.onnxruntime", &library, error);
	else if (env && *env)
		rc = open_named(l, params, env, "SOMA_ONNXRUNTIME", &library,
				error);
	else
		rc = open_found(l, params, &library, error);
	if (rc)
		return rc;
	/* It is never closed: it has threads of its own. */
	return take_api(l, library, params, error);
}
