/* commands.c: the table of commands: parser, help, manual and completion come
 * from it. */
#include "cli/command.h"

#include <string.h>

#include "cli/output.h"
#include "core/mem.h"
#include "core/str.h"

const struct meaning cli_exits[] = {
	{"0", "done"},
	{"1", "failed: a rollout did not become live, a prediction was "
	      "refused, the daemon refused"},
	{"2", "wrong arguments, or a project that cannot be sent"},
	{"3", "no daemon answers"},
	{"4", "no such api, secret or model"},
	{"5", "the config file has problems; all of them are on standard "
	      "error"},
	{NULL, NULL},
};

const struct meaning cli_environment[] = {
	{"SOMA_ADMIN", "admin address of the daemon (http://127.0.0.1:8002)"},
	{"SOMA_TOKEN", "its token; found by itself for a daemon of the same "
		       "user"},
	{"NO_COLOR", "no colours, when it is set to anything"},
	{NULL, NULL},
};

/* Talks to no daemon: --admin is taken as by all others, and not shown. */
#define ALONE_FLAG                                                             \
	{                                                                      \
		"admin", 0, "URL", NULL                                        \
	}

#define FOLLOW_FLAGS                                                           \
	{"no-wait", 0, NULL, "return as soon as it is accepted"},              \
		{"no-watch", 0, NULL,                                          \
		 "return when it is live, though requests come by which it "   \
		 "is watched"},                                                \
		{"timeout", 0, "TIME",                                         \
		 "stop waiting after \"90s\", \"10m\" (exit code 1); the "     \
		 "rollout goes on"},                                           \
		OUTPUT_FLAG

#define DEPLOY_FLAGS                                                           \
	{"force", 'f', NULL, "deploy although a rollout is under way"},        \
		FOLLOW_FLAGS

static const struct command commands[] = {
	{
		.name = "init",
		.words = "[DIR]",
		.max_words = 1,
		.summary = "make a small project that works",
		.help = "Writes a config file, what it names and a sample "
			"request into DIR, the current folder by default, and "
			"prints what to do next. The api gets the folder's "
			"name. A file that is there is never touched.",
		.flags = {{"type", 't', "python|onnx|command",
			   "a Python class (python, the default), an ONNX "
			   "model (onnx), any program that serves HTTP "
			   "(command)"},
			  ALONE_FLAG},
		.fn = cmd_init,
	},
	{
		.name = "deploy",
		.words = "[FILE|DIR]",
		.max_words = 1,
		.summary = "make or update the apis of a config file",
		.help = "Sends the config file and the files beside it, then "
			"follows until every api is live or has failed. FILE "
			"is soma.yaml by default, else cortex.yaml; of a DIR, "
			"the one in it. A FILE that ends in .onnx is an api by "
			"itself.\n\n"
			"Left out of the project: hidden files (but .env), "
			"__pycache__, *.pyc, virtual environments, the config "
			"file, and what .gitignore, .cortexignore and "
			".somaignore name. A '!pattern' in .somaignore brings "
			"a file back.",
		.notes = "The project is the folder of the config file: all of "
			 "it is sent, and only what the daemon does not have "
			 "yet. On a terminal one display is redrawn; elsewhere "
			 "each step is a line. A daemon that is killed "
			 "meanwhile comes back, and the deploy follows on.\n\n"
			 "What is left out, by rules of .gitignore's syntax "
			 "where the last rule that matches decides:\n\n"
			 "  1. hidden files and folders, *.pyc, *.pyo, *.pyd, "
			 "__pycache__\n"
			 "  2. what .gitignore names\n"
			 "  3. .env comes back\n"
			 "  4. what .cortexignore names, then what .somaignore "
			 "names\n\n"
			 "so '!models/' in .somaignore brings back what "
			 ".gitignore left out. Folders with a pyvenv.cfg "
			 "(virtual environments) and the config file itself "
			 "are never sent. Ignore files of folders further down "
			 "are not read. Symbolic links are followed; one that "
			 "leads nowhere, or to a folder it is in, is an error. "
			 "At most 512 MiB in 20,000 files; a home folder or / "
			 "is refused.\n\n"
			 "'soma deploy classifier.onnx' deploys the model "
			 "alone, "
			 "of any size, and the external data that it names: as "
			 "the api 'classifier', with 'predictor: {type: onnx, "
			 "model: classifier.onnx}' and every other key by "
			 "default.",
		.flags = {DEPLOY_FLAGS},
		.fn = cmd_deploy,
	},
	{
		.name = "patch",
		.words = "[FILE|DIR]",
		.max_words = 1,
		.summary = "apply a config file, leave the project as it is",
		.help = "For a change of the config file alone: nothing of its "
			"folder is sent, and the apis go on with the files "
			"that they were deployed with. Every api of the file "
			"must be deployed already, all of them from one "
			"project. Then as 'soma deploy'.",
		.flags = {DEPLOY_FLAGS},
		.fn = cmd_patch,
	},
	{
		.name = "get",
		.words = "[API]",
		.max_words = 1,
		.summary = "show all apis, or one with its replicas",
		.help = "Shows status, replicas and requests; of one api also "
			"how busy its slots are, and where its requests are.",
		.flags = {{"watch", 'w', NULL, "again every 2 seconds"},
			  {"quiet", 'q', NULL, "names only, one a line"},
			  OUTPUT_FLAG},
		.fn = cmd_get,
	},
	{
		.name = "logs",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "show what an api's replicas print",
		.help = "Prints TIME REPLICA [REQUEST-ID] LINE. As JSON each "
			"line is an object on a line of its own, as YAML a "
			"document.",
		.flags = {{"follow", 'f', NULL, "go on until Ctrl-C"},
			  {"tail", 'n', "N", "this many last lines (100)"},
			  OUTPUT_FLAG},
		.fn = cmd_logs,
	},
	{
		.name = "predict",
		.words = "API [FILE|JSON|-]",
		.min_words = 1,
		.max_words = 2,
		.summary = "send a request to an api and print its answer",
		.help = "The request is a file, JSON written out, or standard "
			"input ('-'). What parses as JSON is sent as "
			"application/json, *.txt as text/plain, anything else "
			"as application/octet-stream. A JSON answer is "
			"indented; its numbers keep their digits.",
		.flags = {{NULL, 0, NULL, NULL}},
		.fn = cmd_predict,
	},
	{
		.name = "delete",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "delete an api",
		.help = "Its replicas end after the requests in flight.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_delete,
	},
	{
		.name = "refresh",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "start all replicas of an api anew",
		.help = "For a predictor that reads something again when it "
			"starts.",
		.flags = {FOLLOW_FLAGS},
		.fn = cmd_refresh,
	},
	{
		.name = "history",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "show an api's revisions and what became of them",
		.help = "The newest twenty: when each was made and by what, "
			"and "
			"whether it is live, was, or has failed, and why.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_history,
	},
	{
		.name = "rollback",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "go back to an older revision of an api",
		.help = "Makes a new revision with the content of an older one "
			"and rolls it out like any other: without --to of the "
			"newest that was live before the one asked for. A "
			"revision that does not get ready need not be rolled "
			"back: that happens by itself.",
		.flags = {{"to", 0, "N",
			   "this revision; 'soma history' shows them"},
			  FOLLOW_FLAGS},
		.fn = cmd_rollback,
	},
	{
		.name = "scale",
		.words = "API N",
		.min_words = 2,
		.max_words = 2,
		.summary = "have so many replicas now",
		.help = "N is between min_replicas and max_replicas. For five "
			"minutes there are no fewer; more if the load asks for "
			"them. 0 stops all replicas until the next request, "
			"whatever min_replicas says.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_scale,
	},
	{
		.name = "promote",
		.words = "SPLITTER [API]",
		.min_words = 1,
		.max_words = 2,
		.summary =
			"send more requests of a splitter to one of its apis",
		.help = "Without API it is its canary, or the second of two. "
			"The others share what is left as they did before, and "
			"a canary takes no further steps. The next deploy of "
			"the file sets the weights that it has, and lets its "
			"canary begin anew.",
		.flags = {{"weight", 0, "N",
			   "percent that it gets (100, the default)"},
			  {"show", 0, NULL,
			   "change nothing: say how its requests are shared "
			   "out, and how far its canary is"},
			  OUTPUT_FLAG},
		.fn = cmd_promote,
	},
	{
		.name = "explain",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "say why an api has as many replicas as it has",
		.help = "What was decided last, from which numbers, and what "
			"would change it. Asking changes nothing.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_explain,
	},
	{
		.name = "models",
		.words = "list|df|gc | pull|info|rm URL | verify [URL]",
		.min_words = 1,
		.max_words = 2,
		.summary = "show and change the models that Soma has fetched",
		.help = "Models that apis name by URL (s3://, gs://, hf://, "
			"http://, https://) are fetched once, when they are "
			"first wanted, and shared by all. list: what is there "
			"and who uses it. pull: fetches one ahead, with the "
			"daemon's credentials; Ctrl-C leaves it to go on. "
			"info: one with its files. verify: reads all again and "
			"compares with what was fetched. rm: forgets one that "
			"no api has. gc: removes what nobody needs. df: what "
			"they take on the disk.",
		.notes = "A pull that broke off goes on where it was. What is "
			 "removed is what no ref names and no revision uses; "
			 "with the daemon's setting models_size those that "
			 "were used longest ago, too.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_models,
	},
	{
		.name = "secret",
		.words = "set NAME [VALUE|-] | list | rm NAME",
		.min_words = 1,
		.max_words = 3,
		.summary = "keep values that predictors get as environment",
		.help = "In the config file: 'env: {TOKEN: {from_secret: "
			"name}}'. Values are never shown again. Without VALUE "
			"it is asked for, or read from standard input ('-'); "
			"a VALUE in the command can be seen by other users of "
			"the machine.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_secret,
	},
	{
		.name = "upgrade",
		.words = "",
		.summary = "put a new version of Soma in place of this one",
		.help = "Starts the daemon of a new program beside the one "
			"that runs, and lets it take over: no connection is "
			"refused or cut, no replica is restarted. Waits until "
			"the new one serves. A program that cannot is refused, "
			"with the cause, and nothing changes.",
		.notes = "Without --binary it is the file that Soma runs, as "
			 "it is now: after an upgrade of the package, or a new "
			 "build. SIGUSR2 to the process of 'soma serve' does "
			 "the same.\n\n"
			 "The daemon from before ends with the last connection "
			 "that it has, or after the setting upgrade_grace. The "
			 "process of 'soma serve' itself stays what it is "
			 "until it is started again.",
		.flags = {{"binary", 0, "PATH",
			   "the new program, which no other user may write"},
			  OUTPUT_FLAG},
		.fn = cmd_upgrade,
	},
	{
		.name = "doctor",
		.words = "",
		.summary = "say what this machine has for Soma, and lacks",
		.help = "Looks at the kernel, the disk, the addresses, Python "
			"and devices, and says what to do about what is "
			"missing. Works without a daemon. The exit code is 1 "
			"when something is missing that Soma needs, 0 when "
			"there are warnings alone.",
		.flags = {{"data", 0, "DIR",
			   "the data directory that a daemon would have"},
			  OUTPUT_FLAG},
		.fn = cmd_doctor,
	},
	{
		.name = "schema",
		.words = "",
		.summary = "print the JSON schema of soma.yaml, for editors",
		.help = "An editor that has the YAML language server then "
			"completes keys, shows what they do and marks "
			"mistakes. Write the schema to a file, and its path "
			"into the first line of soma.yaml:\n\n"
			"  soma schema > .soma-schema.json\n"
			"  # yaml-language-server: $schema=.soma-schema.json",
		.flags = {{"markdown", 0, NULL,
			   "the same keys as tables, for docs/config.md"},
			  ALONE_FLAG},
		.fn = cmd_schema,
	},
	{
		.name = "simulate",
		.words = "TRACE",
		.min_words = 1,
		.max_words = 1,
		.summary = "try autoscalers on a trace of requests",
		.help = "Runs Soma's autoscaler, the same code that the daemon "
			"runs, and others' beside it over recorded requests, "
			"on a clock of its own: a day takes seconds. Shows for "
			"each how many requests waited too long (misses), how "
			"often a replica was started, and what that took in "
			"replica-hours, beside an oracle that knows what will "
			"come.\n\n"
			"TRACE is NAME_inv.csv of the Azure Functions trace, "
			"with NAME_run.csv and NAME_mem.csv beside it; a file "
			"of the Azure LLM trace; or recorded traffic: a CSV "
			"file with the first line 'time,api,seconds', and a "
			"line for each request: when it came, in seconds, for "
			"which api, and how long it held a slot; or the access "
			"log of a daemon, logs/access.jsonl in its data "
			"directory. gzip may have packed it.",
		.notes = "What is assumed is in bench/sim/MODEL.md: how "
			 "arrivals are drawn from counts per minute, what a "
			 "miss is, and which settings each of the others is "
			 "run with.",
		.flags = {{"config", 0, "FILE",
			   "of each api in this config file, its requests "
			   "alone, with its settings: --wait, --slots, --max, "
			   "--worth and --keep from max_wait, the slots of a "
			   "replica, max_replicas, wait_worth and "
			   "keep_idle, and min_replicas"},
			  {"load", 'l', "TIMES",
			   "how long a replica takes to be ready "
			   "(5ms,2s,60s)"},
			  {"wait", 0, "TIME",
			   "how long a request may wait (100ms)"},
			  {"slots", 's', "N",
			   "requests that a replica serves at once (1)"},
			  {"max", 0, "N", "replicas of an api at most (10000)"},
			  {"worth", 0, "N",
			   "Soma's wait_worth (30): replica-seconds for a "
			   "second of waiting"},
			  {"keep", 0, "TIME",
			   "Soma's keep_idle: how long a replica is kept "
			   "that is not needed (by what was learned)"},
			  {"policy", 'p', "soma|kpa|keep-alive|hybrid|cortex",
			   "that one alone, beside the oracle"},
			  {"curve", 'c', NULL,
			   "each at many settings, from few replicas to few "
			   "misses"},
			  {"half", 0, "tune|report|all",
			   "of the apis: those that settings were tuned with, "
			   "the others, or all (all)"},
			  {"seed", 0, "N", "of what is drawn (1)"},
			  OUTPUT_FLAG,
			  ALONE_FLAG},
		.fn = cmd_simulate,
	},
	{
		.name = "completion",
		.words = "bash|zsh|fish",
		.min_words = 1,
		.max_words = 1,
		.summary = "print a script that completes soma's commands",
		.help = "bash: 'source <(soma completion bash)' in ~/.bashrc. "
			"zsh: the same with zsh in ~/.zshrc, after compinit. "
			"fish: 'soma completion fish > "
			"~/.config/fish/completions/soma.fish'. An installed "
			"soma has them in place. Names of apis are asked of "
			"the daemon.",
		.flags = {ALONE_FLAG},
		.fn = cmd_completion,
	},
	{
		.name = "version",
		.words = "",
		.summary = "show the versions of this program and the daemon",
		.help = "Succeeds without a daemon too.",
		.flags = {OUTPUT_FLAG},
		.fn = cmd_version,
	},
	{
		.name = "help",
		.words = "[COMMAND]",
		.max_words = 1,
		.summary = "show this, or the help of one command",
		.help = "The same as 'soma COMMAND --help'.",
		.flags = {{"page", 0, "cli|errors|man|man-keys", NULL},
			  ALONE_FLAG},
		.fn = cmd_help,
	},
};

static const struct command *serve;

void command_set_serve(const struct command *row)
{
	serve = row;
}

const struct command *command_at(size_t i)
{
	if (serve && i-- == 0)
		return serve;
	return i < ARRAY_LEN(commands) ? &commands[i] : NULL;
}

const struct command *command_find(const char *name)
{
	const struct command *c;

	for (size_t i = 0; (c = command_at(i)); i++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

const char *command_near(const char *name)
{
	const char *names[ARRAY_LEN(commands) + 1];
	const struct command *c;
	size_t n = 0;

	while ((c = command_at(n)))
		names[n++] = c->name;
	return str_nearest(name, names, n);
}
