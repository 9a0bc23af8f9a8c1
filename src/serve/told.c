#include "serve/told.h"

#include "core/json.h"
#include "core/mem.h"

char *told_loading(struct str payload)
{
	char *text = mem_alloc(TOLD_LOADING_MAX + 4);
	size_t at = 0, n = 0;

	while (at < payload.n && n < TOLD_LOADING_MAX) {
		size_t len = str_utf8_at(payload.p + at, payload.n - at);

		if (!len)
			memcpy(text + n, "\xef\xbf\xbd", 3);
		else if ((unsigned char)payload.p[at] < 0x20 ||
			 payload.p[at] == 0x7f)
			text[n] = ' ';
		else
			memcpy(text + n, payload.p + at, len);
		n += len ? len : 3;
		at += len ? len : 1;
	}
	return text;
}

char *told_failed(struct str payload)
{
	cleanup_json yyjson_doc *doc = json_parse(payload.p, payload.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *message = json_str(root, "message", "the predictor failed");
	const char *remedy = json_str(root, "remedy", "");

	return *remedy ? mem_printf("%s. Remedy: %s", message, remedy)
		       : mem_strdup(message);
}
