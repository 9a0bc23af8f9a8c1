#include <string.h>

#include "cli/admin.h"
#include "cli/term.h"
#include "core/mem.h"

int cmd_scale(const struct args *a)
{
	const char *number = args_word(a, 1);
	cleanup_free char *path = admin_path("apis", args_word(a, 0), "/scale");
	cleanup_free char *text = NULL;
	struct body body = {0};
	uint64_t n;

	if (!str_u64(str_of(number), &n))
		return term_fail(CLI_USAGE,
				 "'%s' is no number of replicas; usage: soma "
				 "scale API N",
				 number);
	text = mem_printf("{\"replicas\":%llu}", (unsigned long long)n);
	body.data = text;
	body.len = strlen(text);
	return admin_show(a, "POST", path, &body, admin_message);
}
