#include "serve/model_pin.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/file.h"
#include "serve/serve.h"
#include "store/blob.h"

char *model_set_pin_name(const struct revision *rev)
{
	return mem_printf("%s-%lld", rev->api->name, (long long)rev->number);
}

static char *folder_of(const struct revision *rev)
{
	cleanup_free char *name = model_set_pin_name(rev);

	return mem_printf("%s/pins/%s", rev->api->serve->models.dir, name);
}

char *pin_path(const struct revision *rev, const char *name)
{
	cleanup_free char *folder = folder_of(rev);

	return mem_printf("%s/%s", folder, name);
}

char *pin_read(const struct models *all, const char *pin,
	       char ret_tree[SHA256_HEX])
{
	char to[PATH_MAX];
	ssize_t n = readlink(pin, to, sizeof to - 1);
	const char *tree;
	char *path;

	if (n <= 0)
		return NULL;
	to[n] = 0;
	tree = strrchr(to, '/');
	if (!tree || !blob_hash_ok(tree + 1))
		return NULL;
	path = shelf_tree_path(&all->shelf, tree + 1);
	if (access(path, F_OK)) {
		free(path);
		return NULL;
	}
	memcpy(ret_tree, tree + 1, SHA256_HEX);
	return path;
}

int pin_set(const char *pin, const char *to, struct err *err)
{
	cleanup_free char *temp = mem_printf("%s.new", pin);
	cleanup_free char *folder = mem_strdup(pin);

	*strrchr(folder, '/') = 0;
	if (file_mkdirs(folder, 0755, err))
		return err->code;
	unlink(temp);
	if (symlink(to, temp) || rename(temp, pin))
		return err_sys(err, errno, "linking '%s' to a model", pin);
	return 0;
}

void pins_remove(const struct revision *rev)
{
	cleanup_free char *folder = folder_of(rev);

	file_remove_tree(folder, NULL);
}
