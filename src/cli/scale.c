#include <string.h>

#include "cli/admin.h"
#include "cli/output.h"
#include "cli/term.h"
#include "core/mem.h"

int cmd_scale(const struct args *a)
{
	const char *number = args_word(a, 1);
	cleanup_free char *path = admin_path("apis", args_word(a, 0), "/scale");
	cleanup_free char *text = NULL;
	struct body body = {0};
	struct answer an;
	struct admin ad;
	enum output output;
	uint64_t n;
	int rc = output_read(a, &output);

	if (rc != CLI_OK)
		return rc;
	if (!str_u64(str_of(number), &n))
		return term_fail(CLI_USAGE,
				 "'%s' is no number of replicas; usage: soma "
				 "scale API N",
				 number);
	rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	text = mem_printf("{\"replicas\":%llu}", (unsigned long long)n);
	body.data = text;
	body.len = strlen(text);
	rc = admin_call(&ad, "POST", path, &body, &an);
	if (rc == CLI_OK) {
		if (output != OUTPUT_TABLE && an.json)
			output_print(output, answer_root(&an));
		else
			puts(json_str(answer_root(&an), "message", "done"));
		answer_fini(&an);
	}
	admin_close(&ad);
	return rc;
}
