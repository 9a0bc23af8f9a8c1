/* The one table of settings: parser, --help, manual and reload come from it. */
#include "settings/settings.h"

#include <string.h>

#include "core/mem.h"

static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
static const char *const formats[] = {"text", "json", NULL};

/* What a limit's unit makes of it. */
#define TYPE_HTTP_COUNT SETTING_IS_COUNT
#define TYPE_HTTP_BYTES SETTING_IS_BYTES
#define TYPE_HTTP_MS SETTING_IS_TIME
#define ARG_HTTP_COUNT "N"
#define ARG_HTTP_BYTES "SIZE"
#define ARG_HTTP_MS "TIME"

const struct setting settings_table[SETTING_COUNT] = {
	[SETTING_CONFIG] = {"config", SETTING_IS_PATH, SETTING_OPTION, "FILE",
			    .text = "settings file, in YAML; else soma.conf "
				    "in the data directory, if it is there"},
	[SETTING_DATA] = {"data", SETTING_IS_PATH, SETTING_RESTART, "DIR",
			  .env = "SOMA_DATA",
			  .text = "where everything is kept; else "
				  "/var/lib/soma as root, "
				  "~/.local/share/soma for others"},
	[SETTING_LISTEN] = {"listen", SETTING_IS_ADDRESS, SETTING_RESTART,
			    "HOST:PORT", .fallback = "127.0.0.1:8000",
			    .env = "SOMA_LISTEN",
			    .text = "where predictions are served"},
	[SETTING_ADMIN] = {"admin", SETTING_IS_ADDRESS, SETTING_RESTART,
			   "HOST:PORT", .fallback = "127.0.0.1:8002",
			   .env = "SOMA_ADMIN_LISTEN",
			   .text = "where Soma itself is commanded, with the "
				   "token of admin.token in the data "
				   "directory. Deploying runs code: keep it on "
				   "loopback unless you know why not"},
	[SETTING_LOG_LEVEL] = {"log_level", SETTING_IS_WORD, SETTING_LIVE,
			       "debug|info|warning|error", levels, "info",
			       .text = "what is logged: this and worse"},
	[SETTING_LOG_FORMAT] = {"log_format", SETTING_IS_WORD, SETTING_LIVE,
				"text|json", formats,
				.text = "how the log is written: text on a "
					"terminal, else json"},
	[SETTING_ACCESS_LOG] = {"access_log", SETTING_IS_SWITCH, SETTING_LIVE,
				"on|off", .fallback = "on",
				.text = "a line for each prediction in "
					"logs/access.jsonl of the data "
					"directory"},
	[SETTING_STOP_TIMEOUT] =
		{"stop_timeout", SETTING_IS_TIME, SETTING_LIVE, "TIME",
		 .fallback = "5s", .least = 0, .most = 3600 * 1000,
		 .text = "when Soma stops and all replicas have ended: how "
			 "long clients may still read their answers"},
	[SETTING_UPGRADE_GRACE] =
		{"upgrade_grace", SETTING_IS_TIME, SETTING_LIVE, "TIME",
		 .fallback = "10m", .least = 1000, .most = 24 * 3600 * 1000,
		 .text = "how long the daemon from before an upgrade keeps the "
			 "connections that it has"},
	[SETTING_MEMORY] =
		{"memory", SETTING_IS_BYTES, SETTING_LIVE, "SIZE",
		 .least = 20 << 20, .most = UINT64_MAX / 2,
		 .text = "what all replicas may reserve together; else all "
			 "that the machine has, or what Soma's control group "
			 "may have of it"},
	[SETTING_WARM_MEMORY] =
		{"warm_memory", SETTING_IS_BYTES, SETTING_LIVE, "SIZE",
		 .least = 0, .most = UINT64_MAX / 2,
		 .text = "what is kept for the next start may take together: "
			 "processes that replicas are forked from (zygote: "
			 "auto), and frozen replicas with what these leave; "
			 "else a quarter of that"},
	[SETTING_MODELS_SIZE] =
		{"models_size", SETTING_IS_BYTES, SETTING_LIVE, "SIZE",
		 .fallback = "0", .least = 0, .most = UINT64_MAX / 2,
		 .text = "what fetched models may take on the disk: those that "
			 "were used longest ago and that no api has make room. "
			 "0: no limit"},
	[SETTING_MODELS_CHECK] =
		{"models_check", SETTING_IS_TIME, SETTING_LIVE, "TIME",
		 .fallback = "10s", .least = 0, .most = 86400 * 1000,
		 .text = "how often the source of a model that is loaded while "
			 "replicas run (multi_model_reloading, ONNXPredictor) "
			 "is asked for what is new. 0: never"},
#define X(field, name_, value, least_, most_, unit, text_)                     \
	[SETTING_##field] = {                                                  \
		name_,	      TYPE_##unit,	 SETTING_LIVE,                 \
		ARG_##unit,   .least = (least_), .most = (uint64_t)(most_),    \
		.text = text_},
	HTTP_LIMITS(X)
#undef X
};

const struct setting *settings_find(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < ARRAY_LEN(settings_table); i++) {
		const char *own = settings_table[i].name;
		size_t at = 0;

		while (at < n && (own[at] == name[at] ||
				  (own[at] == '_' && name[at] == '-')))
			at++;
		if (at == n && !own[at])
			return &settings_table[i];
	}
	return NULL;
}

enum setting_id settings_id(const struct setting *row)
{
	return (enum setting_id)(row - settings_table);
}
