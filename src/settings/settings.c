#include "settings/settings.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"

/* ---- what a value may be ---- */

static int wants(struct err *err, const char *label, const char *what,
		 const char *value)
{
	return err_set(err, E_INVALID, "%s wants %s, not '%.80s'", label, what,
		       value);
}

static int check_address(const char *label, const char *value, struct err *err)
{
	const char *port = strrchr(value, ':');
	uint64_t n;

	if (!port || !port[1] || port == value)
		return wants(err, label, "HOST:PORT such as 127.0.0.1:8000",
			     value);
	if (!str_u64(str_of(port + 1), &n) || n > 65535)
		return err_set(err, E_INVALID,
			       "%s: '%.80s' is no port (0 to 65535); %s wants "
			       "HOST:PORT such as 127.0.0.1:8000",
			       label, port + 1, label);
	return 0;
}

static int check_word(const struct setting *row, const char *label,
		      const char *value, struct err *err)
{
	char all[128] = "";
	size_t n = 0;

	for (size_t i = 0; row->words[i]; i++) {
		const char *between = !i		  ? ""
				      : row->words[i + 1] ? ", "
							  : " or ";

		if (strcmp(row->words[i], value) == 0)
			return 0;
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", between,
				      row->words[i]);
	}
	return wants(err, label, all, value);
}

/* on and off, and what YAML's writers say instead. */
static int read_switch(const char *label, const char *value, uint64_t *ret,
		       struct err *err)
{
	static const char *const words[] = {"off",  "on", "false",
					    "true", "no", "yes"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(value, words[i]) == 0) {
			*ret = i & 1;
			return 0;
		}
	return wants(err, label, "on or off", value);
}

/* A number as the setting's writer would say it: "75s", "64Ki". */
static const char *shown(enum setting_type type, uint64_t number, char out[32])
{
	static const struct {
		enum setting_type type;
		uint64_t size;
		const char *suffix;
	} units[] = {
		{SETTING_IS_TIME, 3600 * 1000, "h"},
		{SETTING_IS_TIME, 1000, "s"},
		{SETTING_IS_TIME, 1, "ms"},
		{SETTING_IS_BYTES, 1 << 20, "Mi"},
		{SETTING_IS_BYTES, 1 << 10, "Ki"},
	};

	for (size_t i = 0; number && i < ARRAY_LEN(units); i++)
		if (units[i].type == type && number % units[i].size == 0) {
			snprintf(out, 32, "%llu%s",
				 (unsigned long long)(number / units[i].size),
				 units[i].suffix);
			return out;
		}
	snprintf(out, 32, "%llu", (unsigned long long)number);
	return out;
}

static int read_number(const struct setting *row, const char *label,
		       const char *value, uint64_t *ret, struct err *err)
{
	int64_t n = -1;
	bool good = false;
	char least[32], most[32], what[160];
	const char *like = "a number";

	switch (row->type) {
	case SETTING_IS_TIME:
		good = str_duration_ms(value, &n);
		like = "a time such as 30s, 500ms or 2m";
		break;
	case SETTING_IS_BYTES:
		good = str_bytes(value, &n) ||
		       (strcmp(value, "0") == 0 && (n = 0) == 0);
		like = "a size such as 65536, 64Ki or 10Mi";
		break;
	default:
		good = str_u64(str_of(value), ret) && *ret <= INT64_MAX;
		n = (int64_t)*ret;
	}
	if (good && n >= 0 && (uint64_t)n >= row->least &&
	    (uint64_t)n <= row->most) {
		*ret = (uint64_t)n;
		return 0;
	}
	if (!good || row->most == INT64_MAX)
		return wants(err, label, like, value);
	snprintf(what, sizeof what, "%s, from %s to %s", like,
		 shown(row->type, row->least, least),
		 shown(row->type, row->most, most));
	return wants(err, label, what, value);
}

static int read_value(const struct setting *row, const char *label,
		      const char *value, uint64_t *ret, struct err *err)
{
	for (const char *p = value; *p; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(err, E_INVALID,
				       "%s has a control character", label);
	switch (row->type) {
	case SETTING_IS_PATH:
		if (!*value)
			return err_set(err, E_INVALID, "%s wants a path",
				       label);
		return 0;
	case SETTING_IS_ADDRESS:
		return check_address(label, value, err);
	case SETTING_IS_WORD:
		return check_word(row, label, value, err);
	case SETTING_IS_SWITCH:
		return read_switch(label, value, ret, err);
	case SETTING_IS_TIME:
	case SETTING_IS_BYTES:
	case SETTING_IS_COUNT:
		return read_number(row, label, value, ret, err);
	}
	abort();
}

/* ---- the values ---- */

static void set_default(struct setting_value *v, enum setting_id id)
{
	const struct setting *row = &settings_table[id];
	char text[32];

	*v = (struct setting_value){0};
	if (id >= SETTING_request_line_bytes) {
		v->number = http_limit_table[id - SETTING_request_line_bytes]
				    .fallback;
		v->text = mem_strdup(shown(row->type, v->number, text));
	} else if (row->fallback) {
		if (read_value(row, row->name, row->fallback, &v->number, NULL))
			abort();
		v->text = mem_strdup(row->fallback);
	}
}

void settings_init(struct settings *s)
{
	for (size_t i = 0; i < SETTING_COUNT; i++)
		set_default(&s->values[i], (enum setting_id)i);
}

void settings_fini(struct settings *s)
{
	for (size_t i = 0; i < SETTING_COUNT; i++)
		free(mem_take(&s->values[i].text));
}

void settings_copy_without_file(struct settings *ret, const struct settings *s)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting_value *v = &s->values[i];

		if (v->from == FROM_FILE) {
			set_default(&ret->values[i], (enum setting_id)i);
			continue;
		}
		ret->values[i] = *v;
		ret->values[i].text = mem_strdup(v->text);
	}
}

void settings_take(struct settings *to, struct settings *from)
{
	settings_fini(to);
	*to = *from;
	*from = (struct settings){0};
}

int settings_set(struct settings *s, const struct setting *row,
		 const char *label, const char *value, enum setting_from from,
		 struct err *err)
{
	struct setting_value *v = &s->values[settings_id(row)];
	uint64_t number = 0;
	int rc = read_value(row, label, value, &number, err);

	if (rc)
		return rc;
	if (from < v->from)
		return 0;
	free(v->text);
	v->text = mem_strdup(
		row->type == SETTING_IS_SWITCH ? number ? "on" : "off" : value);
	v->number = number;
	v->from = from;
	return 0;
}

int settings_read_env(struct settings *s, struct err *err)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *row = &settings_table[i];
		const char *value = row->env ? getenv(row->env) : NULL;
		int rc;

		if (!value || !*value)
			continue;
		rc = settings_set(s, row, row->env, value, FROM_ENV, err);
		if (rc)
			return rc;
	}
	return 0;
}

const char *settings_text(const struct settings *s, enum setting_id id)
{
	return s->values[id].text;
}

uint64_t settings_number(const struct settings *s, enum setting_id id)
{
	return s->values[id].number;
}

void settings_limits(const struct settings *s, struct http_limits *ret)
{
#define X(field, name, value, least, most, unit, text)                         \
	ret->field = (__typeof__(ret->field))s->values[SETTING_##field].number;
	HTTP_LIMITS(X)
#undef X
}

int settings_log_json(const struct settings *s)
{
	const char *format = s->values[SETTING_LOG_FORMAT].text;

	return format ? strcmp(format, "json") == 0 : -1;
}

/* ---- from process to process ---- */

static const char letters[] = {[FROM_DEFAULT] = 'd',
			       [FROM_FILE] = 'f',
			       [FROM_ENV] = 'e',
			       [FROM_COMMAND_LINE] = 'c'};

void settings_dump(const struct settings *s, struct buf *out)
{
	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (s->values[i].from != FROM_DEFAULT)
			buf_addf(out, "%c%s=%s\n", letters[s->values[i].from],
				 settings_table[i].name, s->values[i].text);
}

/* One line of a dump, without its end. */
static int load_line(struct settings *s, char *line, struct err *err)
{
	char *equals = strchr(line, '=');
	const char *letter =
		*line ? memchr(letters, *line, sizeof letters) : NULL;
	const struct setting *row;

	if (!letter || !equals)
		return err_set(err, E_INVALID, "not a setting: '%.80s'", line);
	*equals = 0;
	row = settings_find(line + 1);
	if (!row)
		return err_set(err, E_INVALID, "no setting '%.80s'", line + 1);
	return settings_set(s, row, row->name, equals + 1,
			    (enum setting_from)(letter - letters), err);
}

int settings_load(struct settings *s, const char *dump, struct err *err)
{
	cleanup_free char *copy = mem_strdup(dump);
	struct settings loaded;
	char *at = copy, *line;

	settings_init(&loaded);
	while ((line = strsep(&at, "\n")) && *line) {
		if (load_line(&loaded, line, err)) {
			settings_fini(&loaded);
			return E_INVALID;
		}
	}
	settings_take(s, &loaded);
	return 0;
}
