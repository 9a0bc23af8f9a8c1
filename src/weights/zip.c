/* Zip archives whose entries are stored, not packed, with zip64: APPNOTE.TXT
 * 4.3 to 4.5. */
#include <string.h>

#include "core/mem.h"
#include "weights/weights_parts.h"

enum {
	END_BYTES = 22,
	LOCATOR_BYTES = 20,
	END64_BYTES = 56,
	CENTRAL_BYTES = 46,
	LOCAL_BYTES = 30,
	COMMENT_MAX = 65535,
	ENTRIES_MAX = 1 << 20,
	FLAG_ENCRYPTED = 1,
	EXTRA_ZIP64 = 1,
};

static const uint32_t NONE32 = 0xffffffff;

struct archive {
	const uint8_t *data;
	uint64_t size;
	uint64_t at, end; /* of the central directory's rest */
	uint64_t begin;	  /* of the directory: entries lie before it */
	uint64_t n;	  /* entries that it is said to have */
	struct err *err;
};

static uint64_t number(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

static int broken(struct archive *a, const char *what)
{
	return err_set(a->err, E_UNPROCESSABLE,
		       "its zip archive %s: it was cut off, not fetched whole, "
		       "or not written by torch.save()",
		       what);
}

/* Where the end of the central directory is told of, or NULL. */
static const uint8_t *find_end(const struct archive *a)
{
	uint64_t back = MIN(a->size, (uint64_t)COMMENT_MAX + END_BYTES);

	for (uint64_t i = END_BYTES; i <= back; i++) {
		const uint8_t *p = a->data + a->size - i;

		if (memcmp(p, "PK\5\6", 4) == 0 &&
		    number(p + 20, 2) == i - END_BYTES)
			return p;
	}
	return NULL;
}

static int find_directory64(struct archive *a, const uint8_t *end)
{
	const uint8_t *p;
	uint64_t at, size;

	if ((uint64_t)(end - a->data) < LOCATOR_BYTES ||
	    memcmp(end - LOCATOR_BYTES, "PK\6\7", 4) != 0)
		return broken(a, "has no directory");
	at = number(end - LOCATOR_BYTES + 8, 8);
	if (a->size < END64_BYTES || at > a->size - END64_BYTES ||
	    memcmp(a->data + at, "PK\6\6", 4) != 0)
		return broken(a, "has no directory where it says");
	p = a->data + at;
	a->n = number(p + 32, 8);
	size = number(p + 40, 8);
	a->at = number(p + 48, 8);
	if (a->at > at || size > at - a->at)
		return broken(a, "has a directory that is not within it");
	a->end = a->at + size;
	return 0;
}

static int find_directory(struct archive *a)
{
	const uint8_t *end = find_end(a);
	uint64_t size, before;

	if (!end)
		return broken(a, "has no end");
	before = (uint64_t)(end - a->data);
	a->n = number(end + 10, 2);
	size = number(end + 12, 4);
	a->at = number(end + 16, 4);
	if (a->n == 0xffff || size == NONE32 || a->at == NONE32)
		return find_directory64(a, end);
	if (a->at > before || size > before - a->at)
		return broken(a, "has a directory that is not within it");
	a->end = a->at + size;
	return 0;
}

/* Numbers that have no room in an entry stand in its extra field, in this
 * order. */
static bool read_extra64(const uint8_t *p, uint64_t n, uint64_t *size,
			 uint64_t *packed, uint64_t *at)
{
	uint64_t *wanted[] = {size, packed, at};

	while (n >= 4) {
		uint64_t id = number(p, 2), len = number(p + 2, 2);

		p += 4;
		n -= 4;
		if (len > n)
			return false;
		if (id == EXTRA_ZIP64) {
			for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
				if (*wanted[i] != NONE32)
					continue;
				if (len < 8)
					return false;
				*wanted[i] = number(p, 8);
				p += 8;
				len -= 8;
			}
			return true;
		}
		p += len;
		n -= len;
	}
	return *size != NONE32 && *packed != NONE32 && *at != NONE32;
}

/* Where the bytes of the entry are, behind its local header. */
static int find_bytes(struct archive *a, struct zip_entry *e)
{
	const uint8_t *p;
	uint64_t skip;

	if (a->begin < LOCAL_BYTES || e->at > a->begin - LOCAL_BYTES ||
	    memcmp(a->data + e->at, "PK\3\4", 4) != 0)
		return broken(a, "has an entry that is not where it says");
	p = a->data + e->at;
	skip = LOCAL_BYTES + number(p + 26, 2) + number(p + 28, 2);
	if (number(p + 26, 2) != e->name.n ||
	    skip > a->begin - e->at || /* the name is within it, too */
	    memcmp(p + LOCAL_BYTES, e->name.p, e->name.n) != 0)
		return broken(a, "has an entry with two names");
	if (number(p + 6, 2) & FLAG_ENCRYPTED || number(p + 8, 2))
		return broken(a, "has an entry that is packed in one place "
				 "and not in another");
	if (e->size > a->begin - e->at - skip)
		return broken(a, "has an entry that ends behind it");
	e->offset = e->at + skip;
	return 0;
}

/* Nothing is unpacked, so no name does harm; but none such was made by
 * torch.save(). */
static bool is_plain_name(struct str name)
{
	if (!name.n || name.p[0] == '/' || memchr(name.p, 0, name.n) ||
	    memchr(name.p, '\\', name.n))
		return false;
	for (size_t i = 0, start = 0; i <= name.n; i++) {
		if (i < name.n && name.p[i] != '/')
			continue;
		if (str_eq((struct str){name.p + start, i - start}, STR("..")))
			return false;
		start = i + 1;
	}
	return true;
}

static int read_entry(struct archive *a, struct zip_entry *e)
{
	const uint8_t *p = a->data + a->at;
	uint64_t room = a->end - a->at, name, extra, packed;

	if (room < CENTRAL_BYTES || memcmp(p, "PK\1\2", 4) != 0)
		return broken(a, "has a directory that ends too soon");
	name = number(p + 28, 2);
	extra = number(p + 30, 2);
	if (room - CENTRAL_BYTES < name + extra + number(p + 32, 2))
		return broken(a, "has a directory that ends too soon");
	packed = number(p + 20, 4);
	e->size = number(p + 24, 4);
	e->at = number(p + 42, 4);
	e->name = (struct str){(const char *)p + CENTRAL_BYTES, (size_t)name};
	if (!read_extra64(p + CENTRAL_BYTES + name, extra, &e->size, &packed,
			  &e->at))
		return broken(a, "has an entry of no size");
	if (number(p + 8, 2) & FLAG_ENCRYPTED)
		return broken(a, "is encrypted");
	if (number(p + 10, 2) || packed != e->size)
		return err_set(a->err, E_UNPROCESSABLE,
			       "its zip archive is compressed, and so cannot "
			       "be mapped: write it by torch.save(), which "
			       "does not compress");
	a->at += CENTRAL_BYTES + name + extra + number(p + 32, 2);
	if (!is_plain_name(e->name))
		return broken(a, "has an entry whose name leads out of it");
	return find_bytes(a, e);
}

static int compare(struct str a, struct str b)
{
	int order = memcmp(a.p, b.p, MIN(a.n, b.n));

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int by_name(const void *a, const void *b)
{
	return compare(((const struct zip_entry *)a)->name,
		       ((const struct zip_entry *)b)->name);
}

static int by_place(const void *a, const void *b)
{
	const struct zip_entry *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

/* Sorts them by name. What is there twice, or lies over another, can hide
 * another content than other readers see. */
static int check_entries(struct archive *a, struct zip *z)
{
	if (!z->n)
		return 0;
	qsort(z->entries, z->n, sizeof *z->entries, by_place);
	for (size_t i = 1; i < z->n; i++)
		if (z->entries[i].at <
		    z->entries[i - 1].offset + z->entries[i - 1].size)
			return broken(a, "has an entry over another");
	qsort(z->entries, z->n, sizeof *z->entries, by_name);
	for (size_t i = 1; i < z->n; i++)
		if (str_eq(z->entries[i].name, z->entries[i - 1].name))
			return broken(a, "has two entries of one name");
	return 0;
}

int zip__read(struct zip *z, const uint8_t *data, uint64_t size,
	      struct arena *arena, struct err *err)
{
	struct archive a = {.data = data, .size = size, .err = err};

	if (find_directory(&a))
		return a.err->code;
	a.begin = a.at;
	if (a.n > ENTRIES_MAX)
		return broken(&a, "has more than a million entries");
	if (a.n > (a.end - a.at) / CENTRAL_BYTES)
		return broken(&a, "has a directory that ends too soon");
	z->n = (size_t)a.n;
	z->entries = arena_alloc(arena, (z->n + 1) * sizeof *z->entries);
	for (size_t i = 0; i < z->n; i++)
		if (read_entry(&a, &z->entries[i]))
			return a.err->code;
	if (a.at != a.end)
		return broken(&a, "has a directory of more than its entries");
	return check_entries(&a, z);
}

/* How the whole name of `e` stands to that of these three. */
static int compare_to(const struct zip_entry *e, struct str folder,
		      const char *inner, struct str name)
{
	const struct str parts[] = {folder, str_of(inner), name};
	struct str rest = e->name;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct str head = {rest.p, MIN(rest.n, parts[i].n)};
		int order = compare(head, parts[i]);

		if (order)
			return order;
		rest.p += head.n;
		rest.n -= head.n;
	}
	return rest.n > 0;
}

const struct zip_entry *zip__find(const struct zip *z, struct str folder,
				  const char *inner, struct str name)
{
	size_t low = 0, high = z->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order =
			compare_to(&z->entries[middle], folder, inner, name);

		if (order == 0)
			return &z->entries[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
