/* model_env.c: the variables of an api that say how to fetch a model:
 * endpoints, credentials, proxies. All others are its replicas' alone. */
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "serve/model_parts.h"
#include "serve/serve.h"

static bool is_for_fetch(const char *name)
{
	static const char *const heads[] = {"AWS_", "GOOGLE_", "GS_", "HF_",
					    "HUGGING_FACE_"};
	static const char *const names[] = {
		"http_proxy",	 "https_proxy",	 "no_proxy",	  "all_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"};

	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (strncmp(name, heads[i], strlen(heads[i])) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static const char *value_of(const struct serve *s, const struct spec_var *var,
			    struct err *err)
{
	const struct secret *secret;

	if (!var->from_secret)
		return var->value;
	secret = map_get(&s->secrets, var->from_secret);
	if (secret)
		return secret->value;
	err_set(err, E_NOTFOUND,
		"the secret '%s' that env %s wants is not there; set it with "
		"'soma secret set %s'",
		var->from_secret, var->name, var->from_secret);
	return NULL;
}

char **model__env(const struct serve *s, const struct spec *spec,
		  struct err *err)
{
	uint32_t most = spec ? spec->predictor.n_env : 0;
	char **env = mem_alloc((most + 1) * sizeof *env);
	size_t n = 0;

	for (uint32_t i = 0; i < most; i++) {
		const struct spec_var *var = &spec->predictor.env[i];
		const char *value;

		if (!is_for_fetch(var->name))
			continue;
		value = value_of(s, var, err);
		if (!value) {
			model__env_free(env);
			return NULL;
		}
		env[n++] = mem_printf("%s=%s", var->name, value);
	}
	return env;
}

/* They say who asks, and not who is asked: with others the same is fetched. */
static bool is_credential(const char *var)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID=",
					    "AWS_SECRET_ACCESS_KEY=",
					    "AWS_SESSION_TOKEN=",
					    "GS_ACCESS_KEY_ID=",
					    "GS_SECRET_ACCESS_KEY=",
					    "GS_TOKEN=",
					    "HF_TOKEN="};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strncmp(var, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

char *model__name(const char *url, char *const *env)
{
	char via[SHA256_HEX];
	struct sha256 sum;
	bool any = false;

	sha256_init(&sum);
	for (; *env; env++) {
		if (is_credential(*env))
			continue;
		sha256_add(&sum, *env, strlen(*env) + 1);
		any = true;
	}
	sha256_hex(&sum, via);
	return shelf_name(url, any ? via : NULL);
}

void model__env_free(char **env)
{
	for (char **e = env; e && *e; e++) {
		explicit_bzero(*e, strlen(*e));
		free(*e);
	}
	free(env);
}
