#include <ctype.h>
#include <endian.h>

#include "core/mem.h"
#include "http/message.h"

/* Heads, in three steps: their end is found and with it the shape of their
 * lines judged, lines are taken apart, and the meaning of framing headers is
 * judged. As RFC 9112 has it, without what parsers forgive. */

static bool is_control(unsigned char c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

static int end_of_line(struct head_scan *s, const struct head_max *max,
		       const char *p, size_t i, bool *ret_found)
{
	size_t len = i - s->line;

	if (len == 0 || p[i - 1] != '\r')
		return 400; /* bare LF */
	len--;
	if (len == 0 && s->lines == 0) {
		/* RFC 9112 2.2: an empty line before a request is ignored. */
		if (++s->blanks > 2)
			return 400;
		s->begin = i + 1;
	} else if (len == 0) {
		*ret_found = true;
	} else {
		if (s->lines == 0 && len > max->first)
			return 414;
		/* obs-fold, or a blank before the first header */
		if (s->lines > 0 && (p[s->line] == ' ' || p[s->line] == '\t'))
			return 400;
		if (s->lines++ > max->count)
			return 431;
		if (s->lines == 1)
			s->headers = i + 1;
	}
	s->line = i + 1;
	return 0;
}

/* How many bytes from p on are no control characters, sixteen at a time; what
 * is left of the last sixteen is not looked at. */
static size_t skip_plain(const char *p, size_t n)
{
	typedef unsigned char bytes __attribute__((vector_size(16)));
	uint64_t found[2];
	bytes v, is;

	for (size_t i = 0;; i += sizeof v) {
		if (n - i < sizeof v)
			return i;
		memcpy(&v, p + i, sizeof v);
		is = (bytes)(v < 0x20) | (bytes)(v == 0x7f);
		memcpy(found, &is, sizeof is);
		if (found[0])
			return i +
			       (size_t)__builtin_ctzll(le64toh(found[0])) / 8;
		if (found[1])
			return i + 8 +
			       (size_t)__builtin_ctzll(le64toh(found[1])) / 8;
	}
}

/* Looks at p[s->at..n). With *ret_found, p[s->begin..s->at) is the head with
 * its empty line. */
int head__scan(struct head_scan *s, const struct head_max *max, const char *p,
	       size_t n, bool *ret_found)
{
	int rc;

	for (; s->at < n && !*ret_found; s->at++) {
		unsigned char c;

		s->at += skip_plain(p + s->at, n - s->at);
		if (s->at == n)
			break;
		c = (unsigned char)p[s->at];
		if (c >= 0x20 && c != 0x7f)
			continue;
		if (c == '\r') {
			if (s->at + 1 == n)
				break; /* looked at again with the next */
			c = (unsigned char)p[++s->at];
			if (c != '\n')
				return 400; /* bare CR */
		}
		if (c == '\n') {
			rc = end_of_line(s, max, p, s->at, ret_found);
			if (rc)
				return rc;
		} else if (is_control(c)) {
			return 400;
		}
	}
	if (s->lines == 0 && s->at - s->line > (size_t)max->first + 1)
		return 414;
	if (s->lines > 0 && s->at - s->headers > max->total)
		return 431;
	return 0;
}

/* RFC 9110 5.6.2, tchar: letters, digits and !#$%&'*+-.^_`|~ */
static bool is_token_char(unsigned char c)
{
	static const char is[256] = "00000000000000000000000000000000"
				    "01011111001101101111111111000000"
				    "01111111111111111111111111100011"
				    "11111111111111111111111111101010";

	return is[c] == '1';
}

/* RFC 3986 3.2.2, what a host and a port are made of: letters, digits and
 * -._~%!$&'()*+;=:[] */
bool head__is_host_char(unsigned char c)
{
	static const char is[256] = "00000000000000000000000000000000"
				    "01001111111101101111111111110100"
				    "01111111111111111111111111110101"
				    "01111111111111111111111111100010";

	return is[c] == '1';
}

/* "HTTP/1.1" and "HTTP/1.0" are 0, other digits are 505, all else is 400. */
static int judge_version(struct head *h, const char *p, size_t n)
{
	if (n != 8 || memcmp(p, "HTTP/", 5) != 0 ||
	    !isdigit((unsigned char)p[5]) || p[6] != '.' ||
	    !isdigit((unsigned char)p[7]))
		return 400;
	h->minor = (uint8_t)(p[7] - '0');
	return p[5] == '1' && h->minor <= 1 ? 0 : 505;
}

static int find_method(struct head *h, struct str name)
{
#define ROW(number, symbol, text) {{#text, sizeof #text - 1}, number},
	static const struct {
		struct str name;
		uint8_t number;
	} methods[] = {HTTP_METHOD_MAP(ROW)};
#undef ROW

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (str_eq(methods[i].name, name)) {
			h->method = methods[i].number;
			return 0;
		}
	return 400;
}

/* "HTTP/1.1 200 OK"; the reason, and the blank before it, may be missing. */
static int split_status_line(struct head *h, const char *line, size_t n)
{
	int rc = n < 12 ? 400 : judge_version(h, line, 8);

	if (rc || line[8] != ' ' || (n > 12 && line[12] != ' '))
		return rc ? rc : 400;
	for (size_t i = 9; i < 12; i++) {
		if (!isdigit((unsigned char)line[i]))
			return 400;
		h->status = (uint16_t)(h->status * 10 + (line[i] - '0'));
	}
	if (n > 13)
		h->first = (struct str){line + 13, n - 13};
	return h->status < 100 ? 400 : 0;
}

/* "GET /path HTTP/1.1": three parts, one space between them. */
static int split_request_line(struct head *h, const char *line, size_t n)
{
	const char *end = line + n, *target, *version;
	int rc;

	for (target = line; target < end; target++)
		if (!is_token_char((unsigned char)*target))
			break;
	if (target == line || target == end || *target++ != ' ')
		return 400;
	for (version = target; version < end && *version != ' '; version++) {
		unsigned char c = (unsigned char)*version;

		if (c <= 0x20 || c >= 0x7f || c == '#')
			return 400;
	}
	if (version == target || version == end)
		return 400;
	h->first = (struct str){target, (size_t)(version - target)};
	version++;
	/* A preface of HTTP/2 is not of another method, but another version. */
	rc = judge_version(h, version, (size_t)(end - version));
	if (rc)
		return rc;
	return find_method(h, (struct str){line, (size_t)(target - 1 - line)});
}

/* How many bytes from p on are letters or '-', eight at a time, as in
 * skip_plain: what names of headers are made of. */
static size_t skip_letters(const char *p, size_t n)
{
	const uint64_t ones = UINT64_MAX / 255, high = ones << 7;
	uint64_t v, low, letter, dash, other;

	for (size_t i = 0;; i += 8) {
		if (n - i < 8)
			return i;
		memcpy(&v, p + i, 8);
		v = le64toh(v);
		/* Seven bits of each byte, so that no sum carries over. */
		low = (v | ones * 0x20) & ~high;
		letter = (low + ones * (0x80 - 'a')) &
			 ~(low + ones * (0x7f - 'z'));
		dash = ~(((v ^ ones * '-') & ~high) + ones * 0x7f);
		other = (~(letter | dash) | v) & high;
		if (other)
			return i + (size_t)__builtin_ctzll(other) / 8;
	}
}

/* "Name: value" */
static int split_header(struct http_header *header, const char *line, size_t n)
{
	size_t at = skip_letters(line, n);

	while (at < n && is_token_char((unsigned char)line[at]))
		at++;
	if (at == 0 || at == n || line[at] != ':')
		return 400;
	header->name = (struct str){line, at};
	header->value = str_trim((struct str){line + at + 1, n - at - 1});
	return 0;
}

/* p[0..n) as head__scan has found it: lines that end in CRLF, the last of them
 * empty. */
int head__split(struct head *h, const char *p, size_t n, bool response)
{
	const char *end = p + n, *eol = memchr(p, '\n', n);
	size_t len = (size_t)(eol - p) - 1;
	int rc = response ? split_status_line(h, p, len)
			  : split_request_line(h, p, len);

	for (p = eol + 1; !rc && *p != '\r'; p = eol + 1) {
		eol = memchr(p, '\n', (size_t)(end - p));
		h->drop[h->n] = 0;
		rc = split_header(&h->headers[h->n++], p,
				  (size_t)(eol - p) - 1);
	}
	return rc;
}

/* The next element of a comma-separated list; false at its end. */
static bool next_element(struct str *list, struct str *ret)
{
	const char *comma;

	if (!list->p)
		return false;
	comma = list->n ? memchr(list->p, ',', list->n) : NULL;
	if (comma) {
		*ret = (struct str){list->p, (size_t)(comma - list->p)};
		list->n -= ret->n + 1;
		list->p = comma + 1;
	} else {
		*ret = *list;
		list->p = NULL;
	}
	*ret = str_trim(*ret);
	return true;
}

static int judge_length(struct head *h, struct str value)
{
	uint64_t length;

	if (h->n_length++ > 0 || !str_u64(value, &length) || length > INT64_MAX)
		return 400;
	h->content_length = (int64_t)length;
	return 0;
}

/* "chunked" alone, once. Other codings are possible in HTTP but not here. */
static int judge_coding(struct head *h, struct str value)
{
	bool unknown = false;
	struct str coding;

	while (next_element(&value, &coding)) {
		if (h->n_coding++ > 0 && h->chunked)
			return 400; /* twice, or something behind it */
		if (str_ieq(coding, STR("chunked")))
			h->chunked = true;
		else if (coding.n == 0)
			return 400;
		else
			unknown = true;
	}
	if (unknown)
		return 501;
	return h->chunked ? 0 : 400;
}

static int judge_host(struct head *h, uint32_t i)
{
	struct str v = h->headers[i].value;

	if (h->n_host++ > 0)
		return 400;
	for (size_t k = 0; k < v.n; k++)
		if (!head__is_host_char((unsigned char)v.p[k]))
			return 400;
	h->host = (int16_t)i;
	return 0;
}

/* Headers named by Connection go no further, except those that are not the
 * sender's to remove. */
static void drop_named(struct head *h, struct str name)
{
	static const struct str kept[] = {
		{"host", 4}, {"content-length", 14}, {"content-type", 12}};

	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
		if (str_ieq(name, kept[i]))
			return;
	for (uint32_t i = 0; i < h->n; i++)
		if (str_ieq(h->headers[i].name, name))
			h->drop[i] |= HEADER_HOP;
}

static void judge_connection(struct head *h, struct str value)
{
	struct str option;

	while (next_element(&value, &option)) {
		if (str_ieq(option, STR("close")))
			h->says_close = true;
		else if (str_ieq(option, STR("keep-alive")))
			h->says_keep_alive = true;
		else if (str_ieq(option, STR("upgrade")))
			h->says_upgrade = true;
		else if (option.n)
			drop_named(h, option);
	}
}

static int judge_header(struct head *h, uint32_t i, bool response)
{
	struct str name = h->headers[i].name, value = h->headers[i].value;

#define IS(literal) (str_ieq(name, STR(literal)))
	switch (name.p[0] | 0x20) {
	case 'c':
		if (IS("content-length")) {
			h->drop[i] |= HEADER_OURS;
			return judge_length(h, value);
		}
		if (IS("connection")) {
			h->drop[i] |= HEADER_HOP;
			judge_connection(h, value);
		}
		break;
	case 'd':
		if (IS("date"))
			h->date = (int16_t)i;
		break;
	case 'e':
		if (!response && IS("expect")) {
			h->drop[i] |= HEADER_HOP;
			if (str_ieq(value, STR("100-continue")))
				h->expects_100 = true;
			else
				h->expects_other = true;
		}
		break;
	case 'h':
		if (!response && IS("host"))
			return judge_host(h, i);
		if (IS("http2-settings"))
			h->drop[i] |= HEADER_HOP;
		break;
	case 'k':
		if (IS("keep-alive"))
			h->drop[i] |= HEADER_HOP;
		break;
	case 'p':
		if (IS("proxy-connection") || IS("proxy-authenticate") ||
		    IS("proxy-authorization") ||
		    IS("proxy-authentication-info"))
			h->drop[i] |= HEADER_HOP;
		break;
	case 't':
		if (IS("transfer-encoding")) {
			h->drop[i] |= HEADER_OURS;
			return judge_coding(h, value);
		}
		if (IS("te") || IS("trailer"))
			h->drop[i] |= HEADER_HOP;
		break;
	case 'u':
		if (IS("upgrade")) {
			h->drop[i] |= HEADER_HOP;
			h->upgrade = (int16_t)i;
		}
		break;
	case 'x':
		if (IS("x-request-id")) {
			h->drop[i] |= HEADER_OURS;
			h->request_id = (int16_t)i;
		} else if (!response && IS("x-soma-warmup")) {
			h->drop[i] |= HEADER_OURS; /* for our own requests */
		} else if (!response &&
			   (IS("x-forwarded-for") || IS("x-forwarded-proto"))) {
			h->drop[i] |= HEADER_FORWARDED;
			h->forwarded = true;
		}
		break;
	default:
		break;
	}
#undef IS
	return 0;
}

int head__judge(struct head *h, bool response)
{
	h->content_length = -1;
	h->host = h->upgrade = h->request_id = h->date = -1;
	for (uint32_t i = 0; i < h->n; i++) {
		int rc = judge_header(h, i, response);

		if (rc)
			return rc;
	}
	if (h->n_coding && (h->n_length || h->minor == 0))
		return 400; /* what smuggling is made of */
	if (!response && h->minor == 1 && h->n_host == 0)
		return 400;
	return 0;
}
