/* s3_credentials.c: keys and region, where AWS's own tools look for them. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "fetch/s3.h"
#include "loop/file.h"

enum { FILE_BYTES_MAX = 1 << 20 };

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

struct profile {
	struct arena *arena;
	struct s3_keys keys;
	const char *region;
};

static void take_row(struct profile *p, struct str name, struct str value)
{
	const struct {
		struct str name;
		const char **to;
	} rows[] = {
		{STR("aws_access_key_id"), &p->keys.id},
		{STR("aws_secret_access_key"), &p->keys.secret},
		{STR("aws_session_token"), &p->keys.token},
		{STR("region"), &p->region},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_ieq(name, rows[i].name) && value.n > 0 && !*rows[i].to)
			*rows[i].to = arena_strndup(p->arena, value.p, value.n);
}

/* "[NAME]", or "[profile NAME]" as the file `config` has it. */
static bool is_section(struct str line, const char *profile)
{
	struct str name = {line.p + 1, line.n - 1};

	if (name.n == 0 || name.p[name.n - 1] != ']')
		return false;
	name.n--;
	name = str_trim(name);
	if (str_starts(name, STR("profile "))) {
		name.p += 8;
		name.n -= 8;
		name = str_trim(name);
	}
	return str_eq(name, str_of(profile));
}

static void read_lines(struct profile *p, char *text, const char *profile)
{
	bool inside = false;
	char *save = NULL;

	for (char *at = strtok_r(text, "\r\n", &save); at;
	     at = strtok_r(NULL, "\r\n", &save)) {
		struct str line = str_trim(str_of(at)), name, value;
		const char *equals;

		if (line.n == 0 || line.p[0] == '#' || line.p[0] == ';')
			continue;
		if (line.p[0] == '[') {
			inside = is_section(line, profile);
			continue;
		}
		equals = memchr(line.p, '=', line.n);
		/* What is further in belongs to a row such as "s3 =". */
		if (!inside || !equals || at[0] == ' ' || at[0] == '\t')
			continue;
		name = (struct str){line.p, (size_t)(equals - line.p)};
		value = (struct str){equals + 1, line.n - name.n - 1};
		take_row(p, str_trim(name), str_trim(value));
	}
}

/* A file that is not there, or may not be read, has nothing. */
static void read_file(struct profile *p, const char *variable, const char *name,
		      const char *profile)
{
	const char *path = env(variable), *home = env("HOME");
	cleanup_free char *usual = NULL, *text = NULL;
	size_t len;

	if (!path && home)
		path = usual = mem_printf("%s/.aws/%s", home, name);
	if (path && file_read(path, FILE_BYTES_MAX, &text, &len, NULL) == 0)
		read_lines(p, text, profile);
}

void s3__credentials(struct arena *arena, struct s3_keys *keys,
		     const char **region)
{
	struct profile p = {.arena = arena};
	const char *name = env("AWS_PROFILE");

	read_file(&p, "AWS_SHARED_CREDENTIALS_FILE", "credentials",
		  name ? name : "default");
	read_file(&p, "AWS_CONFIG_FILE", "config", name ? name : "default");
	*keys = p.keys;
	if (env("AWS_ACCESS_KEY_ID") && env("AWS_SECRET_ACCESS_KEY")) {
		keys->id = env("AWS_ACCESS_KEY_ID");
		keys->secret = env("AWS_SECRET_ACCESS_KEY");
		keys->token = env("AWS_SESSION_TOKEN");
	}
	if (!keys->id || !keys->secret)
		*keys = (struct s3_keys){0};
	*region = env("AWS_REGION");
	if (!*region)
		*region = env("AWS_DEFAULT_REGION");
	if (!*region)
		*region = p.region;
}
