/* gs.c: Google Cloud Storage, by the XML API that it shares with S3. */
#include <stdlib.h>

#include "core/mem.h"
#include "fetch/s3.h"

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

int source__gs(struct source *s, struct failure *why)
{
	struct s3 *own = arena_zalloc(&s->arena, sizeof *own);

	own->keys.id = env("GS_ACCESS_KEY_ID");
	own->keys.secret = env("GS_SECRET_ACCESS_KEY");
	if (!own->keys.id || !own->keys.secret)
		own->keys = (struct s3_keys){0};
	own->bearer = env("GS_TOKEN");
	own->region = "auto";
	own->endpoint = env("GS_ENDPOINT_URL");
	if (!own->endpoint)
		own->endpoint = "https://storage.googleapis.com";
	s->forbidden =
		own->keys.id || own->bearer
			? "check the key or token, and that it allows "
			  "storage.objects.get and storage.objects.list"
			: "there are no credentials: set GS_ACCESS_KEY_ID and "
			  "GS_SECRET_ACCESS_KEY (an HMAC key), or GS_TOKEN";
	s->missing = "check bucket and key";
	return s3__begin(s, own, why);
}
