/* The keys of kinds of api that are not served: for the manual, and to name
 * the kind where they stand in an api of another. */
#include "spec/keys_rows.h"

#define V "0.27-0.35"
#define T KIND_TASK
#define S KIND_SPLITTER

#define TASK_WHY KIND_WHY("TaskAPI")
#define SPLITTER_WHY KIND_WHY("TrafficSplitter")

#define TASK(path, type, versions, ...)                                        \
	{                                                                      \
		"definition" path, type, REFUSED, versions, T, 0,              \
			.why = TASK_WHY, __VA_ARGS__                           \
	}
#define SPLITTER(path, type, versions, ...)                                    \
	{                                                                      \
		"apis" path, type, REFUSED, versions, S, 0,                    \
			.why = SPLITTER_WHY, __VA_ARGS__                       \
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
	SPLITTER("", KEY_LIST, "0.25-0.42", .required = true,
		 .text = "The apis that requests are shared out to."),
	SPLITTER("[].name", KEY_NAME, "0.25-0.42", .required = true,
		 RANGE(1, 42), .unit = "characters",
		 .text = "Name of a RealtimeAPI."),
	SPLITTER("[].weight", KEY_INT, "0.25-0.42", .required = true,
		 RANGE(0, 100), .unit = "percent",
		 .text = "Its share of the requests."),
	SPLITTER("[].shadow", KEY_BOOL, "0.31-0.42", .def = "false",
		 .text = "Whether it gets copies, whose answers are dropped."),
};
const size_t keys_kinds_n = ARRAY_LEN(keys_kinds);
