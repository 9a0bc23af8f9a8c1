#include "cli/admin.h"

int cmd_delete(const struct args *a)
{
	return admin_say(a, "DELETE", "apis", args_word(a, 0), "");
}
