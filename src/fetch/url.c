#include "fetch/url.h"

#include <curl/curl.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/mem.h"

char *url_shown(const char *url)
{
	const char *rest = strstr(url, "://");
	size_t scheme = rest ? (size_t)(rest - url) + 3 : 0;
	const char *host = url + scheme;
	size_t authority = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', authority);

	/* hf://ORG/NAME@REV has its '@' behind the first slash. */
	if (at)
		host = at + 1;
	return mem_printf("%.*s%.*s", (int)scheme, url,
			  (int)strcspn(host, "?#"), host);
}

char *url_escape(struct str text, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	char *out = mem_alloc(text.n * 3 + 1), *p = out;

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '-' || c == '.' ||
		    c == '_' || c == '~' || (c == '/' && keep_slash)) {
			*p++ = (char)c;
		} else {
			*p++ = '%';
			*p++ = digits[c >> 4];
			*p++ = digits[c & 15];
		}
	}
	return out;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *url_unescape(struct str text, bool plus)
{
	char *out = mem_alloc(text.n + 1), *p = out;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c == '%') {
			int high = i + 1 < text.n ? digit(text.p[i + 1]) : -1;
			int low = i + 2 < text.n ? digit(text.p[i + 2]) : -1;

			if (high < 0 || low < 0) {
				free(out);
				return NULL;
			}
			c = (char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (c == '\0') {
			free(out);
			return NULL;
		}
		*p++ = c;
	}
	return out;
}

static char *part(CURLU *u, CURLUPart which, unsigned flags)
{
	char *text = NULL, *copy;

	if (curl_url_get(u, which, &text, flags) != CURLUE_OK)
		return NULL;
	copy = mem_strdup(text);
	curl_free(text);
	return copy;
}

/* "scheme://host:port" with the port always. */
static char *origin(const char *url)
{
	CURLU *u = curl_url();
	cleanup_free char *scheme = NULL, *host = NULL, *port = NULL;
	char *text = NULL;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) {
		scheme = part(u, CURLUPART_SCHEME, 0);
		host = part(u, CURLUPART_HOST, 0);
		port = part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
		if (scheme && host && port)
			text = mem_printf("%s://%s:%s", scheme, host, port);
	}
	curl_url_cleanup(u);
	return text;
}

bool url_same_host(const char *a, const char *b)
{
	cleanup_free char *x = origin(a), *y = origin(b);

	return x && y && strcasecmp(x, y) == 0;
}

char *url_host(const char *url)
{
	CURLU *u = curl_url();
	cleanup_free char *host = NULL, *port = NULL;
	char *text = NULL;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) {
		host = part(u, CURLUPART_HOST, 0);
		port = part(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
		if (host && port)
			text = mem_printf("%s:%s", host, port);
		else
			text = mem_take(&host);
	}
	curl_url_cleanup(u);
	return text;
}
