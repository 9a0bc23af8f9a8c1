/* The settings as options of `soma serve`. */
#include <assert.h>
#include <string.h>

#include "core/mem.h"
#include "settings/settings.h"

/* "log-level" of "log_level". */
static char *option_name(const char *name)
{
	char *option = mem_strdup(name);

	for (char *p = option; *p; p++)
		if (*p == '_')
			*p = '-';
	return option;
}

/* "what it is (its default; or VARIABLE)" */
static char *option_text(const struct setting *row,
			 const struct setting_value *v)
{
	const char *value = v->text ? v->text : "", *env = row->env;

	if (!v->text && !env)
		return mem_strdup(row->text);
	return mem_printf("%s (%s%s%s%s)", row->text, value,
			  v->text && env ? "; " : "", env ? "or " : "",
			  env ? env : "");
}

void settings_flags(struct flag flags[ARGS_FLAGS_MAX])
{
	struct settings defaults;

	assert((int)SETTING_COUNT < ARGS_FLAGS_MAX);
	settings_init(&defaults);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *row = &settings_table[i];

		flags[i] = (struct flag){
			.name = option_name(row->name),
			.value = row->arg,
			.text = option_text(row, &defaults.values[i])};
	}
	settings_fini(&defaults);
}

int settings_read_args(struct settings *s, const struct args *a,
		       struct err *err)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		cleanup_free char *name = option_name(settings_table[i].name);
		cleanup_free char *label = mem_printf("--%s", name);
		const char *value = args_value(a, name);

		if (value && settings_set(s, &settings_table[i], label, value,
					  FROM_COMMAND_LINE, err))
			return err->code;
	}
	return 0;
}
