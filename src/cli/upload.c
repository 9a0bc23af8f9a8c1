#include "cli/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/term.h"
#include "core/map.h"
#include "core/mem.h"

enum { SAY_AFTER_MS = 1000, SAY_EVERY_MS = 100, SAY_PLAIN_MS = 5000 };

struct upload {
	struct display *d;
	size_t n, at;
	uint64_t bytes, sent; /* of all; of the files before this one */
	int64_t started_ms, said_ms;
};

static void say_progress(struct upload *u, uint64_t sent)
{
	int64_t now = term_now_ms();
	int every = u->d->mode == DISPLAY_LIVE ? SAY_EVERY_MS : SAY_PLAIN_MS;
	char done[32], all[32];

	if (now < u->started_ms + SAY_AFTER_MS || now < u->said_ms + every)
		return;
	u->said_ms = now;
	str_human_bytes(u->sent + sent, done);
	str_human_bytes(u->bytes, all);
	if (u->d->mode == DISPLAY_LIVE)
		display_progress(u->d, "uploading file %zu of %zu, %s of %s",
				 u->at + 1, u->n, done, all);
	else
		display_say(u->d, "uploading file %zu of %zu, %s of %s",
			    u->at + 1, u->n, done, all);
}

static void on_sent(void *data, uint64_t sent)
{
	say_progress(data, sent);
}

static int send_file(struct admin *ad, const struct bundle *b,
		     const struct bundle_file *f, struct upload *u)
{
	cleanup_free char *from = mem_printf("%s/%s", b->dir, f->path);
	cleanup_free char *to = admin_path("blobs", f->sha256, "");
	FILE *file = fopen(from, "re");
	struct body body = {
		.len = f->size,
		.file = file,
		.type = "application/octet-stream",
		.on_sent = on_sent,
		.sent_data = u,
	};
	struct answer an;
	struct stat st;
	int rc;

	if (!file)
		return term_fail(CLI_FAILED, "cannot read '%s': %s", f->path,
				 strerror(errno));
	if (fstat(fileno(file), &st) != 0 || (uint64_t)st.st_size != f->size)
		rc = term_fail(CLI_FAILED,
			       "'%s' changed while it was being deployed: "
			       "deploy again",
			       f->path);
	else
		rc = admin_call(ad, "PUT", to, &body, &an);
	if (rc == CLI_OK)
		answer_fini(&an);
	else
		fprintf(stderr, "while uploading '%s'\n", f->path);
	fclose(file);
	return rc;
}

int upload_missing(struct admin *ad, const struct bundle *b,
		   yyjson_val *missing, struct display *d)
{
	struct upload u = {.d = d, .started_ms = term_now_ms()};
	struct map by_hash;
	yyjson_val *hash;
	size_t i, n;
	int rc = CLI_OK;
	char size[32];

	map_init(&by_hash);
	for (size_t k = 0; k < b->n_files; k++)
		map_set(&by_hash, b->files[k].sha256, &b->files[k]);
	yyjson_arr_foreach(missing, i, n, hash)
	{
		const struct bundle_file *f = map_get(
			&by_hash,
			yyjson_is_str(hash) ? yyjson_get_str(hash) : "");

		u.n++;
		u.bytes += f ? f->size : 0;
	}
	yyjson_arr_foreach(missing, i, n, hash)
	{
		const struct bundle_file *f = map_get(
			&by_hash,
			yyjson_is_str(hash) ? yyjson_get_str(hash) : "");

		if (!f || rc != CLI_OK)
			continue;
		u.at = i;
		rc = send_file(ad, b, f, &u);
		u.sent += f->size;
	}
	map_fini(&by_hash);
	if (rc == CLI_OK && u.n > 0)
		display_say(d, "uploaded %zu file%s, %s", u.n,
			    u.n == 1 ? "" : "s",
			    str_human_bytes(u.bytes, size));
	return rc;
}

char *upload_request(const struct bundle *b, bool force, size_t *ret_len,
		     struct err *err)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *files;
	char *text;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "config_name", b->config_name);
	yyjson_mut_obj_add_strn(doc, root, "config", b->config, b->config_len);
	files = yyjson_mut_obj_add_arr(doc, root, "files");
	for (size_t i = 0; i < b->n_files; i++) {
		const struct bundle_file *f = &b->files[i];
		yyjson_mut_val *file = yyjson_mut_arr_add_obj(doc, files);

		yyjson_mut_obj_add_str(doc, file, "path", f->path);
		yyjson_mut_obj_add_uint(doc, file, "size", f->size);
		yyjson_mut_obj_add_uint(doc, file, "mode", f->mode);
		yyjson_mut_obj_add_str(doc, file, "sha256", f->sha256);
	}
	yyjson_mut_obj_add_bool(doc, root, "force", force);
	text = yyjson_mut_write(doc, 0, ret_len);
	if (!text)
		err_set(err, E_INVALID,
			"%s: the file is not UTF-8 text: save it as UTF-8",
			b->config_name);
	return text;
}
