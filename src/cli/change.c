/* change.c: `soma refresh` and `soma rollback`: a new revision of what the
 * daemon has already. */
#include <string.h>

#include "cli/admin.h"
#include "cli/deploy.h"
#include "cli/term.h"
#include "core/mem.h"

int cmd_refresh(const struct args *a)
{
	cleanup_free char *path =
		admin_path("apis", args_word(a, 0), "/refresh");

	return deploy_anew(a, path, NULL);
}

int cmd_rollback(const struct args *a)
{
	cleanup_free char *path =
		admin_path("apis", args_word(a, 0), "/rollback");
	const char *to = args_value(a, "to");
	cleanup_free char *text = NULL;
	struct body body = {0};
	uint64_t n;

	if (!to)
		return deploy_anew(a, path, NULL);
	if (!str_u64(str_of(to), &n) || !n || n > INT64_MAX)
		return term_fail(CLI_USAGE,
				 "--to is the number of a revision, not '%s'; "
				 "'soma history %s' shows them",
				 to, args_word(a, 0));
	text = mem_printf("{\"to\":%llu}", (unsigned long long)n);
	body.data = text;
	body.len = strlen(text);
	return deploy_anew(a, path, &body);
}
