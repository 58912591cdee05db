/* Sites' certificates of many_polls, and TLS connections with them, each on a blocking socket. Whatever fails ends the program. */
#ifndef ROUNDS_TESTS_BENCH_IDENTITIES_H
#define ROUNDS_TESTS_BENCH_IDENTITIES_H

#include "common/error.h"

#include <openssl/ssl.h>

_Noreturn void die(const char *what, const struct rounds_error *error);

/* As many open files as this machine allows. */
void allow_many_files(void);

/* The first `count` certificates of a file, one key for all, and whom to trust; the server is at loopback's `port`. */
void identities_load(const char *key_path, const char *certs_path, const char *authority_path, int count, int port);

struct connected {
	SSL *ssl;
	int fd;
};
struct connected identity_connect(int number);

#endif
