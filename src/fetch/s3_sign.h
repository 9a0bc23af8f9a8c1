/* s3_sign.h: AWS's signature version 4, of requests without a body. */
#ifndef FETCH_S3_SIGN_H
#define FETCH_S3_SIGN_H

#include <stddef.h>

#include "core/sha256.h"

enum { S3_DATE = 17 }; /* "20130524T000000Z" and NUL */

/* The SHA-256 of nothing: the body of a GET. */
#define S3_NOTHING                                                             \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct s3_keys {
	const char *id, *secret, *token; /* token: or NULL */
};

struct s3_header {
	const char *name; /* small letters */
	const char *value;
};

struct s3_request {
	const char *method;
	const char *url; /* path and query escaped, as url_escape does */
	const char *region, *service;
	const char *date;
	const struct s3_header *headers; /* sorted by name, with "host" */
	size_t n_headers;
};

/* The value of Authorization; free() it. */
char *s3_authorization(const struct s3_request *q, const struct s3_keys *keys);
/* The key of a day, region and service. */
void s3_signing_key(const struct s3_keys *keys, const char *date,
		    const char *region, const char *service,
		    unsigned char out[SHA256_BYTES]);

#endif
