#include "cli/admin.h"

int cmd_refresh(const struct args *a)
{
	return admin_say(a, "POST", "apis", args_word(a, 0), "/refresh");
}
