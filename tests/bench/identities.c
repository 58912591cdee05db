#include "tests/bench/identities.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/resource.h>

static struct {
	X509 **certs;
	EVP_PKEY *key;
	SSL_CTX *context;
	int port;
} identities;

_Noreturn void die(const char *what, const struct rounds_error *error)
{
	fprintf(stderr, "%s: %s\n", what, error ? error->message : "failed");
	exit(1);
}

void allow_many_files(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

void identities_load(const char *key_path, const char *certs_path, const char *authority_path, int count, int port)
{
	FILE *certs = fopen(certs_path, "r"), *key = fopen(key_path, "r");

	identities.port = port;
	identities.certs = calloc((size_t)count, sizeof(*identities.certs));
	identities.context = SSL_CTX_new(TLS_client_method());
	if (!certs || !key || !identities.certs || !identities.context ||
		!SSL_CTX_load_verify_locations(identities.context, authority_path, NULL))
		die("cannot begin", NULL);
	SSL_CTX_set_verify(identities.context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(identities.context, SSL_MODE_RELEASE_BUFFERS);
	identities.key = PEM_read_PrivateKey(key, NULL, NULL, NULL);
	for (int i = 0; i < count; i++)
		if (!(identities.certs[i] = PEM_read_X509(certs, NULL, NULL, NULL)))
			die("too few certificates", NULL);
	fclose(certs);
	fclose(key);
}

struct connected identity_connect(int number)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)identities.port) };
	struct connected made = { SSL_new(identities.context), socket(AF_INET, SOCK_STREAM, 0) };
	int yes = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	SSL_use_certificate(made.ssl, identities.certs[number]);
	SSL_use_PrivateKey(made.ssl, identities.key);
	SSL_set_tlsext_host_name(made.ssl, "localhost");
	if (connect(made.fd, (struct sockaddr *)&address, sizeof(address)) || !SSL_set_fd(made.ssl, made.fd) ||
		SSL_connect(made.ssl) != 1)
		die("cannot connect", NULL);
	setsockopt(made.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return made;
}
