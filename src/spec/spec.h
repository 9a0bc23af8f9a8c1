/* spec.h: what a user asks for: apis read from soma.yaml, with defaults and
 * every problem found. */
#ifndef SPEC_SPEC_H
#define SPEC_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

/* What a replica runs. */
enum predictor_type {
	PREDICTOR_PYTHON,  /* a class of the user's, in soma.worker */
	PREDICTOR_COMMAND, /* any program */
	PREDICTOR_ENGINE,  /* an engine's plugin, in soma-host */
};

/* Cortex's names of the class that a Python predictor has. */
enum python_class {
	CLASS_PYTHON_PREDICTOR,
	CLASS_ONNX_PREDICTOR, /* gets an onnx_client */
	CLASS_HANDLER,	      /* of 0.34 and 0.35: handle_post and others */
};

/* What an environment has beside what the project asks for. */
enum base_packages {
	BASE_PACKAGES_NONE,
	BASE_PACKAGES_CORTEX, /* what the project imports and Cortex's images
				 had */
};

/* Whether replicas that are not wanted are kept frozen. */
enum freeze {
	FREEZE_AUTO, /* where a start takes longer */
	FREEZE_ALWAYS,
	FREEZE_NEVER,
};

/* How far a zygote loads before replicas are forked from it, deepest first. */
enum zygote_level {
	ZYGOTE_AUTO, /* the deepest that is safe, where it is of use */
	ZYGOTE_INIT,
	ZYGOTE_IMPORTS,
	ZYGOTE_WORKER,
	ZYGOTE_NONE, /* there is none */
};

/* What decides how many replicas there are. */
enum scale_policy {
	SCALE_BY_LATENCY, /* policy/autoscale */
	SCALE_BY_CORTEX,  /* policy/autoscale_cortex */
};

struct spec_texts {
	const char **items;
	uint32_t n;
};

struct spec_var {
	const char *name;
	const char *value;	 /* NULL when from a secret */
	const char *from_secret; /* secret's name, or NULL */
};

/* One api as asked for, defaults filled in. Everything lives in the arena of
 * the set it came from. Absent strings are NULL. */
struct spec {
	const char *name;
	const char *kind;     /* "RealtimeAPI" */
	const char *endpoint; /* "/iris": begins with '/', no trailing '/' */
	/* Of a TrafficSplitter, which has nothing else, or NULL: {"apis":
	 * [{"name", "weight": percent, "shadow": BOOL}], "tolerance": relative
	 * difference of a shadow's numbers}, "sticky": a header's name, and
	 * "canary": {"api", "steps": [percent], "end": percent, "every_ms",
	 * "min_requests", "max_errors": percent}. */
	const char *split_json;
	struct {
		enum predictor_type type;
		const char *path; /* python: file with the class, relative to
				     the project */
		const char *python_path; /* added to sys.path, relative to the
					    project; or NULL */
		const char
			*python; /* interpreter or venv; NULL: chosen by Soma */
		const char *config_json; /* "{}" when absent */
		const char **command; /* command: argv; run without a shell */
		uint32_t n_command;
		struct spec_var *env;
		uint32_t n_env;
		uint32_t processes; /* processes_per_replica */
		uint32_t threads;   /* threads_per_process */
		const char *pip;    /* requirements file, relative; NULL:
				       "requirements.txt" if the project has it */
		const char *shell;  /* dependencies.sh, likewise */
		/* Requests that a replica is sent at once, all of its
		 * processes together; 0: learned. */
		uint32_t max_in_flight;
		uint32_t max_hooks; /* threads for hooks in a process */
		uint32_t predict_timeout_ms; /* 0: none */
		/* server_side_batching; 0: none */
		uint32_t max_batch_size, batch_interval_ms;
		/* batching, with max_batch_size and no interval; 0: none */
		uint32_t latency_target_ms;
		uint32_t max_concurrency;   /* command: requests at once per
					       replica; 0: no limit */
		const char *readiness_path; /* command: GET answers 2xx/3xx when
					       ready; NULL: port accepts */
		uint32_t start_timeout_ms;  /* spawn to ready; default 10 min */
		bool expose_tracebacks;
		const char *log_level; /* debug, info, warning, error */
		enum python_class klass;
		enum base_packages base_packages;
		enum zygote_level zygote; /* at the deepest */
		enum freeze freeze;
		/* python: where its models are, or NULL: {"path": TEXT} or
		 * {"paths": [{"name", "path"}]} or {"dir": TEXT}, and
		 * "cache_size" and "disk_cache_size", null where not given;
		 * "open": true where soma.models alone has them. A TEXT is a
		 * URL of source.h, an absolute path, or relative to the
		 * project. */
		const char *models_json;
		/* engine: a built-in one's name, "onnx", or a file of the
		 * project that ends in ".so" */
		const char *engine;
		const char *model; /* engine: file of the project, or NULL */
		uint32_t intra_op_threads;	/* of one run; at least 1 */
		const char *graph_optimization; /* disabled, basic, extended,
						   all */
		const char *execution_provider; /* "cpu" */
		const char *engine_options; /* JSON: texts, numbers, booleans */
		const char *onnxruntime;    /* its library: absolute, or of the
					       project; NULL: looked for */
	} predictor;
	/* What browsers on other sites are allowed. Each text is "*" or a name;
	 * without origins there is no CORS at all. */
	struct {
		struct spec_texts allow_origins; /* "https://example.com" */
		struct spec_texts allow_methods, allow_headers, expose_headers;
		bool allow_credentials; /* origins are named then */
		uint32_t max_age_ms;	/* of a preflight's answer */
	} cors;
	struct {
		int64_t cpu_millis; /* reservation; default 200 */
		int64_t mem_bytes;  /* reservation; 0: none */
		int64_t mem_limit;  /* ours: enforced; 0: none */
	} compute;
	struct {
		enum scale_policy policy;
		uint32_t min_replicas, max_replicas, init_replicas;
		uint32_t max_wait_ms; /* that a request may wait for one */
		double wait_worth;    /* replica-seconds for a second of that */
		uint32_t keep_idle_ms;	  /* 0: as it was learned */
		uint32_t buffer_replicas; /* more than needed, while any is */
		/* Times at which there are no fewer, or NULL: {"items":
		 * [{"cron": TEXT, "for": ms, "min_replicas": N}]} */
		const char *schedule_json;
		/* Cortex's; the target is filled in. */
		double target_in_flight;
		uint32_t window_ms, down_period_ms, up_period_ms;
		double max_down, max_up; /* factors */
		double down_tolerance, up_tolerance;
		uint32_t max_replica_concurrency; /* in flight per replica
						     before 503 */
	} scale;
	/* How a new revision takes over. */
	struct {
		/* "2", "25%" (of the replicas asked for) or "auto". */
		const char *surge, *unavailable;
		uint32_t max_hold_ms; /* that requests wait where nothing
					 serves meanwhile */
		uint32_t watch_ms;    /* that it is watched; 0: it is not */
	} update;
	/* What a new replica answers first, or NULL: {"requests": [{"method",
	 * "path", "body": ANY, "body_file": a file of the project,
	 * "content_type", "headers": {}, "times": N, "status": N, "expect":
	 * the answer's body, "tolerance", "within_ms"}]}. What is absent was
	 * not said. */
	const char *warmup_json;
	uint32_t request_timeout_ms; /* whole request, waiting included; default
					60 s; 0: none */
	uint32_t max_queue_length;   /* wait in the gate; 0: no limit */
	bool retry_safe;	     /* `retry: safe` */
	bool cold_retry;	     /* `on_cold: retry` */
	bool server_timing;	     /* in answers to all, not who asks */
	uint32_t grace_ms; /* to end in-flight requests on stop; default 60 s */
};

enum problem_level {
	PROBLEM_ERROR,	 /* the file is refused */
	PROBLEM_WARNING, /* a key that is not acted on yet; deploy goes on */
};

/* One thing to mend, worded for the person who wrote the file. */
struct problem {
	enum problem_level level;
	uint32_t line, column; /* from 1; 0: not tied to a place */
	const char *api;       /* name, or NULL */
	const char *key;       /* path: "predictor.config", or NULL */
	const char *text;      /* "unknown key; did you mean ..." */
};

/* All apis and all problems of one file. Any error: specs must not be used. */
struct spec_set {
	struct arena arena;
	struct spec *specs;
	uint32_t n_specs;
	struct problem *problems; /* in file order */
	uint32_t n_problems;
	uint32_t n_errors;
};

/* Of a TrafficSplitter's shadow, where it says nothing. */
#define SPEC_TOLERANCE 1e-6
/* Of its canary, likewise: percent, ms, requests, percent. */
#define SPEC_CANARY_END 100
#define SPEC_CANARY_EVERY_MS 600000
#define SPEC_CANARY_REQUESTS 100
#define SPEC_CANARY_ERRORS 1.0

/* What is deployed under a name. */
enum spec_there { SPEC_UNKNOWN, SPEC_ABSENT, SPEC_API, SPEC_SPLITTER };

/* What the project folder has, for keys that name files, and what is deployed,
 * for those that name apis. NULL: not checked. */
struct spec_files {
	/* Whether the project has this path: 0 no, 1 file, 2 directory. */
	int (*kind_of)(void *data, const char *path);
	/* May be NULL. */
	enum spec_there (*deployed)(void *data, const char *api);
	void *data;
};

/* Reads YAML text of at most SPEC_MAX_BYTES. Always leaves a set that must be
 * given to spec_set_fini; returns 0, or E_UNPROCESSABLE when n_errors > 0. */
enum { SPEC_MAX_BYTES = 1 << 20 };
int spec_parse(struct spec_set *set, const char *file_name, const char *text,
	       size_t len, const struct spec_files *files);
void spec_set_fini(struct spec_set *set);

/* "soma.yaml:12:5: iris: predictor.processes: unknown key ..." in the arena. */
const char *spec_problem_line(struct spec_set *set, const char *file_name,
			      const struct problem *p);

/* Slots of one of its processes. A class with server_side_batching runs one
 * batch at a time: its threads are those of the requests that wait. */
uint32_t spec_slots(const struct spec *spec);
/* Requests that a whole replica works on at the same time, all of a batch for
 * those that batch; 1 where it is not known. */
uint32_t spec_at_once(const struct spec *spec);

/* The normalised form that the store keeps: stable, defaults included.
 * free() it. Reading it back gives an equal spec; a set of one. */
char *spec_to_json(const struct spec *spec);
int spec_from_json(struct spec_set *set, const char *json, size_t len,
		   struct err *err);

#endif
