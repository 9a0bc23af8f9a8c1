/* sha256.h: content hashes, over OpenSSL's libcrypto. */
#ifndef CORE_SHA256_H
#define CORE_SHA256_H

#include <stddef.h>

enum { SHA256_HEX = 65 /* 64 digits and NUL */, SHA256_BYTES = 32 };

struct sha256 {
	void *ctx; /* private, owned */
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *data, size_t len);
/* Lower-case hex; frees what init took. */
void sha256_hex(struct sha256 *h, char out[SHA256_HEX]);
/* The same as bytes. */
void sha256_end(struct sha256 *h, unsigned char out[SHA256_BYTES]);
/* Frees without a result; safe after sha256_hex. */
void sha256_fini(struct sha256 *h);

/* HMAC-SHA-256 of data with a key. */
void sha256_hmac(const void *key, size_t key_len, const void *data, size_t len,
		 unsigned char out[SHA256_BYTES]);

#endif
