/* Any bytes as a model of ONNX: no crash, and what is wrong is said in words.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/onnx_parts.h"
#include "engines/onnx_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether it was refused without words, or accepted with some. */
static void check(int rc, const struct soma_error *error)
{
	if (!rc != !error->text[0])
		abort();
}

/* From memory that ends where the model does: sanitizers see a step beyond. */
static void look_for_files(const uint8_t *data, size_t size)
{
	struct soma_error error = {{0}};
	struct onnx_external x;

	onnx_external_init(&x, "model.onnx", &error);
	check(onnx_external_check(&x, (struct onnx_bytes){data, data + size}),
	      &error);
}

static void look_at_all(const uint8_t *data, size_t size)
{
	struct soma_error error = {{0}};
	struct onnx_file file = {0};
	char path[64];
	int fd = memfd_create("model", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	check(onnx_file_look(&file, path, &error), &error);
	onnx_file_fini(&file);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	look_for_files(data, size);
	look_at_all(data, size);
	return 0;
}
