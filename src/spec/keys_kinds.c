/* The keys of other kinds of api: of a TrafficSplitter, and of one that is not
 * served: for the manual, and to name the kind where they stand in an api of
 * another. */
#include "spec/keys_rows.h"

#define V "0.27-0.35"
#define T KIND_TASK
#define S KIND_SPLITTER

#define TASK_WHY KIND_WHY("TaskAPI")
#define TASK(path, type, versions, ...)                                        \
	{                                                                      \
		"definition" path, type, REFUSED, versions, T, 0,              \
			.why = TASK_WHY, __VA_ARGS__                           \
	}
#define SPLITTER(path, type, versions, ...)                                    \
	{                                                                      \
		path, type, WORKS, versions, S, 0, __VA_ARGS__                 \
	}

const struct key keys_kinds[] = {
	TASK("", KEY_MAP, V, .text = "What a task runs."),
	TASK(".path", KEY_PY_FILE, V, .required = true,
	     .text = "Python file with the class Task."),
	TASK(".python_path", KEY_DIR, V,
	     .text = "Directory of the project that imports start from."),
	TASK(".config", KEY_JSON, V, .def = "{}",
	     .text = "Handed to the class."),
	TASK(".env", KEY_ENV, V, .def = "{}", .text = "Environment variables."),
	TASK(".image", KEY_STRING, V, .text = "Container image."),
	TASK(".log_level", KEY_WORD, V, .words = "debug info warning error",
	     .def = "info", .text = "Least level that is logged."),
	TASK(".dependencies", KEY_MAP, "0.30-0.35",
	     .text = "What is installed for the task."),
	TASK(".dependencies.pip", KEY_FILE, "0.30-0.35",
	     .text = "Requirements file of the project."),
	TASK(".dependencies.conda", KEY_FILE, "0.30-0.35",
	     .text = "List of conda packages."),
	TASK(".dependencies.shell", KEY_FILE, "0.30-0.35",
	     .text = "Shell script of the project."),
	SPLITTER("apis", KEY_LIST, "0.25-0.42", .required = true,
		 .example = "apis: [{name: iris, weight: 100}]", RANGE(1, 100),
		 .unit = "maps",
		 .text = "The apis that requests are shared out to."),
	SPLITTER("apis[].name", KEY_NAME, "0.25-0.42", .required = true,
		 .example = "name: iris", RANGE(1, 42), .unit = "characters",
		 .text = "Name of a RealtimeAPI, deployed or in the file."),
	SPLITTER("apis[].weight", KEY_INT, "0.25-0.42", .required = true,
		 .example = "weight: 50", RANGE(0, 100), .unit = "percent",
		 .text = "Its share of the requests: those of all that are no "
			 "shadow add up to 100. Of a shadow: of how many it "
			 "gets a copy."),
	SPLITTER("apis[].shadow", KEY_BOOL, "0.31-0.42", .def = "false",
		 .text = "Whether it gets copies, whose answers are compared "
			 "and dropped; one at most."),
	SPLITTER("sticky", KEY_MAP, "soma",
		 .text = "Requests that belong together."),
	SPLITTER("sticky.header", KEY_STRING, "soma", .required = true,
		 .example = "header: X-User-Id", RANGE(1, 100),
		 .unit = "characters",
		 .text = "A request header: all requests with the same value "
			 "go to the same api while the weights stay."),
	SPLITTER("canary", KEY_MAP, "soma",
		 .text = "One of the apis gets more of the requests step by "
			 "step, and none beyond its weight again when more of "
			 "them fail than of the others'."),
	SPLITTER("canary.api", KEY_NAME, "soma", .required = true,
		 .example = "api: iris-new", RANGE(1, 42), .unit = "characters",
		 .text = "Its name, in apis. Its weight there is what it goes "
			 "back to."),
	SPLITTER("canary.steps", KEY_PERCENTS, "soma", .required = true,
		 .example = "steps: [5, 25, 50]", RANGE(1, 50),
		 .unit = "percentages",
		 .text = "What it gets, one after the other, in percent of the "
			 "requests: each from 1 to 99, and more than the one "
			 "before."),
	SPLITTER("canary.end", KEY_INT, "soma", .def = "100", RANGE(1, 100),
		 .unit = "percent",
		 .text = "What it has behind the last step."),
	SPLITTER("canary.every", KEY_DURATION, "soma", .def = "10m",
		 RANGE(1 * SECONDS, 720 * HOURS),
		 .text = "How long a step lasts, at least."),
	SPLITTER("canary.min_requests", KEY_INT, "soma", .def = "100",
		 RANGE(1, 1000000), .unit = "requests",
		 .text = "How many of its requests a step takes, at least: it "
			 "lasts longer where there are fewer."),
	SPLITTER("canary.max_errors", KEY_FLOAT, "soma", .def = "1",
		 RANGE(0, 100), .below_max = true, .unit = "percent",
		 .text = "How many of its requests may fail (5xx) in any case. "
			 "Beyond it goes back when that is more than of the "
			 "others'."),
	SPLITTER("shadow_compare", KEY_MAP, "soma",
		 .text = "How the shadow's answers are compared."),
	SPLITTER("shadow_compare.tolerance", KEY_FLOAT, "soma", .def = "1e-6",
		 RANGE(0, 1),
		 .text = "Relative difference of two numbers up to which they "
			 "are the same."),
};
const size_t keys_kinds_n = ARRAY_LEN(keys_kinds);
