#include "serve/elders.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "keep/proto.h"
#include "loop/log.h"
#include "serve/local.h"

static void add(struct list *elders, struct local *l, struct lane *lane,
		const char *name)
{
	cleanup_free char *path = local_socket_path(l, name);
	struct elder *e = mem_alloc(sizeof *e);
	struct err err = {0};

	list_init(&e->link);
	if (http_upstream_init(&e->up, lane, path, 0, &err)) {
		log_warn(NULL, "calls of a daemon from before: %s, ignoring",
			 err.msg);
		free(e);
		return;
	}
	list_push_back(elders, &e->link);
}

void elders_find(struct list *elders, struct local *l, struct lane *lane)
{
	const size_t n = strlen(KEEP_CALLS_NAME);
	cleanup_free char *path = mem_printf("%s/run/s", l->data_dir);
	DIR *dir = opendir(path);
	struct dirent *entry;

	list_init(elders);
	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, KEEP_CALLS_NAME, n) == 0)
			add(elders, l, lane, entry->d_name);
	if (dir)
		closedir(dir);
}

struct elder *elders_next(struct list *elders, struct elder *last)
{
	struct list *it = last ? last->link.next : elders->next;

	for (; it != elders; it = it->next) {
		struct elder *e = LIST_ENTRY(it, struct elder, link);

		if (!e->gone)
			return e;
	}
	return NULL;
}

static void on_closed(struct http_upstream *up)
{
	struct elder *e = CONTAINER_OF(up, struct elder, up);

	list_remove(&e->link);
	free(e);
}

bool elders_close(struct list *elders)
{
	struct list *it, *tmp;

	LIST_EACH (elders, it, tmp) {
		struct elder *e = LIST_ENTRY(it, struct elder, link);

		if (!e->up.closing)
			http_upstream_close(&e->up, on_closed);
	}
	return list_empty(elders);
}
