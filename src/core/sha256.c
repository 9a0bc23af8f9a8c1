#include "core/sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"

void sha256_init(struct sha256 *h)
{
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
		abort();
}

void sha256_add(struct sha256 *h, const void *data, size_t len)
{
	if (EVP_DigestUpdate(h->ctx, data, len) != 1)
		abort();
}

void sha256_end(struct sha256 *h, unsigned char out[SHA256_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (EVP_DigestFinal_ex(h->ctx, digest, &n) != 1 || n != SHA256_BYTES)
		abort();
	memcpy(out, digest, SHA256_BYTES);
	sha256_fini(h);
}

void sha256_hex(struct sha256 *h, char out[SHA256_HEX])
{
	unsigned char digest[SHA256_BYTES];

	sha256_end(h, digest);
	str_hex(digest, sizeof digest, out);
}

void sha256_fini(struct sha256 *h)
{
	EVP_MD_CTX_free(h->ctx);
	h->ctx = NULL;
}

enum { BLOCK_BYTES = 64 };

void sha256_hmac(const void *key, size_t key_len, const void *data, size_t len,
		 unsigned char out[SHA256_BYTES])
{
	unsigned char inner[BLOCK_BYTES] = {0}, outer[BLOCK_BYTES];
	struct sha256 sum;

	if (key_len > BLOCK_BYTES) {
		sha256_init(&sum);
		sha256_add(&sum, key, key_len);
		sha256_end(&sum, inner);
	} else if (key_len > 0) {
		memcpy(inner, key, key_len);
	}
	for (size_t i = 0; i < BLOCK_BYTES; i++) {
		outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	sha256_init(&sum);
	sha256_add(&sum, inner, sizeof inner);
	sha256_add(&sum, data, len);
	sha256_end(&sum, out);
	sha256_init(&sum);
	sha256_add(&sum, outer, sizeof outer);
	sha256_add(&sum, out, SHA256_BYTES);
	sha256_end(&sum, out);
}
