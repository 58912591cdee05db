/*
 * Many sites that wait for work, each with its own certificate and TLS connection.
 *
 *     many_polls issue DATA_DIR COUNT KEY_FILE CERTS_FILE   certificates for wait-0 ... from the server's authority;
 *                                                           prints "name serial expires_us" for the database
 *     many_polls wait PORT KEY_FILE CERTS_FILE COUNT CA     connects all, claims, prints "waiting"; then prints the name
 *                                                           and CLOCK_MONOTONIC seconds of the first that is answered
 */
#include "common/file.h"
#include "common/x509.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, PEM_LIMIT = 256 << 20 };

static void die(const char *what, const struct rounds_error *error)
{
	fprintf(stderr, "many_polls: %s: %s\n", what, error ? error->message : "failed");
	exit(1);
}

static char *read_text(const char *directory, const char *name)
{
	char path[500], *text;
	struct rounds_error error = { 0 };

	snprintf(path, sizeof(path), "%s%s%s", directory, name ? "/" : "", name ? name : "");
	if (file_read(path, PEM_LIMIT, &text, NULL, &error))
		die(path, &error);
	return text;
}

static int issue(char **argv)
{
	char *ca = read_text(argv[2], "ca.pem"), *ca_key = read_text(argv[2], "ca.key"), *key = NULL, *request = NULL,
	     name[40];
	int count = atoi(argv[3]);
	FILE *keys = fopen(argv[4], "w"), *certs = fopen(argv[5], "w");
	struct rounds_error error = { 0 };
	struct certificate_order order = {
		.authority_pem = ca, .authority_key_pem = ca_key, .name = name, .use = CERTIFICATE_SITE, .days = 2
	};

	if (!keys || !certs || key_new(&key, &error) || certificate_request("x", key, &request, &error))
		die("cannot begin", &error);
	fputs(key, keys);
	order.request_pem = request;
	for (int i = 0; i < count; i++) {
		struct certificate_facts facts;
		char *cert;

		snprintf(name, sizeof(name), "wait-%d", i);
		if (certificate_issue(&order, &cert, &facts, &error))
			die("cannot issue", &error);
		fputs(cert, certs);
		free(cert);
		printf("%s %s %lld\n", name, facts.serial, (long long)facts.not_after_us);
	}
	fclose(keys);
	fclose(certs);
	return 0;
}

struct waiting {
	SSL *ssl;
	int fd;
};

static struct waiting *sites;
static X509 **certs;
static EVP_PKEY *key;
static SSL_CTX *context;
static int count, port;

static void connect_one(int at)
{
	static const char body[] = "{\"protocol\":1,\"datasets\":[\"none\"],\"executors\":[\"puppet\"]}";
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	char request[400];
	int length;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sites[at].fd = socket(AF_INET, SOCK_STREAM, 0);
	sites[at].ssl = SSL_new(context);
	SSL_use_certificate(sites[at].ssl, certs[at]);
	SSL_use_PrivateKey(sites[at].ssl, key);
	SSL_set_tlsext_host_name(sites[at].ssl, "localhost");
	if (connect(sites[at].fd, (struct sockaddr *)&address, sizeof(address)) ||
		!SSL_set_fd(sites[at].ssl, sites[at].fd) || SSL_connect(sites[at].ssl) != 1)
		die("cannot connect", NULL);
	length = snprintf(request, sizeof(request),
		"POST /api/v1/tasks/claim?wait=60 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		sizeof(body) - 1, body);
	if (SSL_write(sites[at].ssl, request, length) != length)
		die("cannot send", NULL);
}

static void *connect_some(void *argument)
{
	for (int i = *(int *)argument; i < count; i += THREADS)
		connect_one(i);
	return NULL;
}

/* The site whose answer has come; session tickets also make sockets readable. */
static int first_answered(struct pollfd *ready)
{
	for (;;) {
		if (poll(ready, (nfds_t)count, 90000) <= 0)
			die("nothing came", NULL);
		for (int i = 0; i < count; i++) {
			char answer[4000];
			int got;

			if (!ready[i].revents)
				continue;
			got = SSL_read(sites[i].ssl, answer, sizeof(answer) - 1);
			if (got > 0)
				return i;
		}
	}
}

static int wait_all(char **argv)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];
	FILE *cert_file = fopen(argv[4], "r"), *key_file = fopen(argv[3], "r");
	struct pollfd *ready;
	struct timespec now;
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	port = atoi(argv[2]);
	count = atoi(argv[5]);
	sites = calloc((size_t)count, sizeof(*sites));
	certs = calloc((size_t)count, sizeof(*certs));
	ready = calloc((size_t)count, sizeof(*ready));
	context = SSL_CTX_new(TLS_client_method());
	if (!cert_file || !key_file || !sites || !certs || !ready || !context ||
		!SSL_CTX_load_verify_locations(context, argv[6], NULL))
		die("cannot begin", NULL);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
	for (int i = 0; i < count; i++)
		if (!(certs[i] = PEM_read_X509(cert_file, NULL, NULL, NULL)))
			die("too few certificates", NULL);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, connect_some, &numbers[i]))
			die("cannot start a thread", NULL);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < count; i++) {
		char tickets[1];

		ready[i] = (struct pollfd){ .fd = sites[i].fd, .events = POLLIN };
		fcntl(sites[i].fd, F_SETFL, O_NONBLOCK);
		(void)SSL_read(sites[i].ssl, tickets, 0); /* takes the session tickets in */
	}
	puts("waiting");
	fflush(stdout);
	int answered = first_answered(ready);
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("wait-%d %.6f\n", answered, (double)now.tv_sec + (double)now.tv_nsec / 1e9);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "issue"))
		return issue(argv);
	if (argc == 7 && !strcmp(argv[1], "wait"))
		return wait_all(argv);
	fputs("usage: see the beginning of many_polls.c\n", stderr);
	return 2;
}
