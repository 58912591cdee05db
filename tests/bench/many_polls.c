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
#include "tests/bench/identities.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, PEM_LIMIT = 256 << 20 };

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

static struct connected *sites;
static int count;

static void connect_one(int at)
{
	static const char body[] = "{\"protocol\":1,\"datasets\":[\"none\"],\"executors\":[\"puppet\"]}";
	char request[400];
	int length;

	sites[at] = identity_connect(at);
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
	struct pollfd *ready;
	struct timespec now;

	allow_many_files();
	count = atoi(argv[5]);
	identities_load(argv[3], argv[4], argv[6], count, atoi(argv[2]));
	sites = calloc((size_t)count, sizeof(*sites));
	ready = calloc((size_t)count, sizeof(*ready));
	if (!sites || !ready)
		die("cannot begin", NULL);
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
