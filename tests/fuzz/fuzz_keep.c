/* Any bytes as what the daemon says to the keeper, which must outlive it: as
 * messages on its socket, and as the order of a SPAWN. The first byte says
 * which. Nothing is started. */
#include <assert.h>

#include "../../src/keep/child.c"
#include "../../src/keep/keeper.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_order(const uint8_t *data, size_t size)
{
	int fd = memfd_create("order", MFD_CLOEXEC), env;
	struct order o;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (order_read(&o, fd) == 0) {
		env = env_file(&o);
		if (env >= 0)
			close(env);
		order_fini(&o);
	}
	close(fd);
}

static void hear(const uint8_t *data, size_t size)
{
	struct settings settings;
	struct keep_opts opts = {.settings = &settings};
	int listeners[KEEP_LISTENERS] = {-1, -1, -1};
	struct keeper k = {
		.opts = &opts, .listeners = listeners, .fallback = -1};
	struct tenant t = {.keeper = &k};
	struct keep_head head = {0};

	settings_init(&settings);
	list_init(&k.children);
	list_init(&k.retired);
	k.daemon = &t;
	memcpy(&head, data, MIN(size, sizeof head));
	/* Behind YIELDED another daemon is started. */
	if (head.type != KEEP_SPAWN && head.type != KEEP_YIELDED)
		keeper__on_message(&t.chan, data, size, NULL, 0);
	assert(list_empty(&k.children) && k.daemon == &t);
	free(t.holds);
	settings_fini(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	log_setup("fuzz", LOG_ERROR, 0);
	if (data[0] & 1)
		read_order(data + 1, size - 1);
	else
		hear(data + 1, size - 1);
	return 0;
}
