#include "daemon/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/file.h"
#include "loop/log.h"

enum { TOKEN_BYTES = 24, TOKEN_FILE_MAX = 4096 };

int token_get(const char *data_dir, char **ret, struct err *err)
{
	cleanup_free char *path = mem_printf("%s/admin.token", data_dir);
	unsigned char raw[TOKEN_BYTES];
	char hex[2 * TOKEN_BYTES + 2];
	char *text;
	size_t len;

	if (access(path, F_OK) == 0) {
		if (file_read(path, TOKEN_FILE_MAX, &text, &len, err))
			return err->code;
		text[strcspn(text, " \t\r\n")] = 0;
		if (*text) {
			*ret = text;
			return 0;
		}
		free(text);
	}
	if (getrandom(raw, sizeof raw, 0) != sizeof raw)
		return err_sys(err, errno, "getting random bytes");
	str_hex(raw, sizeof raw, hex);
	strcat(hex, "\n");
	if (file_write(path, hex, strlen(hex), 0600, err))
		return err->code;
	hex[2 * TOKEN_BYTES] = 0;
	*ret = mem_strdup(hex);
	return 0;
}

static char *announcement(const char *data_dir, const char *admin_url,
			  const char *data_url, size_t *ret_len)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	cleanup_free char *token = mem_printf("%s/admin.token", data_dir);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "admin", admin_url);
	yyjson_mut_obj_add_strcpy(doc, root, "data", data_url);
	yyjson_mut_obj_add_strcpy(doc, root, "token_file", token);
	yyjson_mut_obj_add_int(doc, root, "pid", getppid());
	return json_write(doc, ret_len);
}

void token_announce(const char *data_dir, const char *admin_url,
		    const char *data_url)
{
	cleanup_free char *path = mem_printf("%s/run/admin.json", data_dir);
	cleanup_free char *dir = NULL, *copy = NULL, *json = NULL;
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	const char *port = strrchr(admin_url, ':');
	struct err why = {0};
	size_t len;

	json = announcement(data_dir, admin_url, data_url, &len);
	/* A full disk is no reason not to serve. */
	if (file_write(path, json, len, 0644, &why))
		log_warn(NULL, "%s, ignoring", why.msg);
	if ((!config || !*config) && (!home || !*home))
		return;
	dir = config && *config ? mem_printf("%s/soma/daemons", config)
				: mem_printf("%s/.config/soma/daemons", home);
	copy = mem_printf("%s/%s.json", dir, port + 1);
	/* Without it the CLI has to be told; the daemon serves all the same. */
	if (file_mkdirs(dir, 0700, &why) ||
	    file_write(copy, json, len, 0600, &why))
		log_warn(NULL, "%s; the CLI will need SOMA_TOKEN, ignoring",
			 why.msg);
}
