/*
 * Many sites at work in one process, each with its own certificate and, as rounds-site has them, a connection that asks for
 * work and one that delivers. Nobody trains: the update is the model that came with the task, with the site's number for its
 * last value.
 *
 *     many_sites PORT KEY_FILE CERTS_FILE COUNT CA    the certificates are many_polls'; prints "waiting" when all have asked
 *                                                     once; at the end of its input how many results were taken, and
 *                                                     how many refused
 */
#include "common/digest.h"
#include "common/json.h"
#include "common/text.h"
#include "common/uuid.h"
#include "tests/bench/identities.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { POLL_SECONDS = 30, MODEL_LIMIT = 64 * 1024, EVENTS = 64 };

struct site;

struct line {
	struct connected to; /* ssl NULL: not connected */
	struct site *site;
	char *out; /* what was asked and is not answered */
	char *in;  /* of the answer, so far */
	size_t size, room;
};

struct site {
	int number;
	char instance[UUID_TEXT_SIZE];
	struct line poll, work;
};

static int ready, taken, refused;

static void hang_up(struct line *line)
{
	if (!line->to.ssl)
		return;
	SSL_free(line->to.ssl);
	close(line->to.fd);
	line->to.ssl = NULL;
}

static void call(struct line *line)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = line };

	line->to = identity_connect(line->site->number);
	fcntl(line->to.fd, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(ready, EPOLL_CTL_ADD, line->to.fd, &event))
		die("cannot watch", NULL);
}

/* One that the server has closed meanwhile is opened anew. */
static void send_request(struct line *line)
{
	int length = (int)strlen(line->out);

	if (line->to.ssl && SSL_write(line->to.ssl, line->out, length) == length)
		return;
	hang_up(line);
	call(line);
	if (SSL_write(line->to.ssl, line->out, length) != length)
		die("cannot send", NULL);
}

static void post(struct line *line, const char *path, json_t *body)
{
	scoped(text_free) char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	line->out = text_new("POST /api/v1/tasks/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
			     "Content-Length: %zu\r\n\r\n%s",
		path, strlen(text), text);
	if (!line->out)
		die("no memory", NULL);
	send_request(line);
}

static void ask(struct site *site)
{
	char path[40];

	snprintf(path, sizeof(path), "claim?wait=%d", POLL_SECONDS);
	post(&site->poll, path,
		json_pack("{s:i, s:s, s:i, s:[s], s:[s], s:[], s:s}", "protocol", 2, "version", ROUNDS_VERSION,
			"slots", 1, "datasets", "none", "executors", "puppet", "holding", "instance",
			site->instance));
}

static void deliver(struct site *site, const json_t *task)
{
	const json_t *given = json_object_get(json_object_get(task, "files"), "model");
	const char *model = json_text_or(given, "data", "");
	unsigned char bytes[MODEL_LIMIT], data[MODEL_LIMIT * 4 / 3 + 5];
	size_t length = strlen(model);
	char path[100], digest[DIGEST_TEXT_SIZE];
	float last = (float)site->number;
	struct digest sum;
	int size;

	if (length < 8 || length > MODEL_LIMIT)
		die("there is no small model in the task", NULL);
	size = EVP_DecodeBlock(bytes, (const unsigned char *)model, (int)length);
	size -= (model[length - 1] == '=') + (model[length - 2] == '=');
	memcpy(bytes + size - sizeof(last), &last, sizeof(last));
	digest_of(bytes, (size_t)size, &sum);
	digest_format(&sum, digest);
	EVP_EncodeBlock(data, bytes, size);
	snprintf(path, sizeof(path), "%s/result", json_text_or(task, "id", ""));
	post(&site->work, path,
		json_pack("{s:{s:{s:s, s:i, s:s}}, s:i, s:{s:f}, s:{s:f, s:f}}", "files", "update", "digest", digest,
			"size", size, "data", (const char *)data, "weight", 10, "metrics", "loss",
			1.0 / (1 + site->number), "timings", "train", 0.001, "upload", 0.001));
}

static void answered(struct line *line, int status, const json_t *body)
{
	struct site *site = line->site;
	const json_t *task = json_object_get(body, "task");

	free(line->out);
	line->out = NULL;
	if (line == &site->work) {
		taken += status == 200;
		refused += status != 200;
	}
	if (line == &site->poll && status != 200)
		die("a claim was refused", NULL);
	if (line == &site->poll && json_is_object(task))
		deliver(site, task);
	else
		ask(site);
}

/* A whole answer, if there is one. Its header's names are known: the server is ours. */
static void look(struct line *line)
{
	json_auto_t *body = NULL;
	struct rounds_error error = { 0 };
	char *end = strstr(line->in, "\r\n\r\n"), *length = strcasestr(line->in, "\r\nContent-Length:");
	size_t head = end ? (size_t)(end + 4 - line->in) : 0, size;
	int status;

	if (!end)
		return;
	size = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
	if (line->size < head + size)
		return;
	status = atoi(line->in + 9);
	if (size && json_parse(line->in + head, size, &body, &error))
		die("an answer", &error);
	end[2] = '\0';
	if (strcasestr(line->in, "\r\nConnection: close"))
		hang_up(line);
	free(line->in);
	line->in = NULL;
	line->size = line->room = 0;
	answered(line, status, body);
}

static void hear(struct line *line)
{
	int got;

	if (!line->to.ssl)
		return;
	do {
		if (line->room - line->size < 2) {
			line->room = 2 * line->room + 1024;
			line->in = realloc(line->in, line->room);
			if (!line->in)
				die("no memory", NULL);
		}
		got = SSL_read(line->to.ssl, line->in + line->size, (int)(line->room - line->size - 1));
		if (got > 0)
			line->size += (size_t)got;
	} while (got > 0);
	line->in[line->size] = '\0';
	if (SSL_get_error(line->to.ssl, got) != SSL_ERROR_WANT_READ)
		hang_up(line); /* what has come is still to be looked at */
	if (line->size > 0) {
		look(line);
	} else { /* those that wait cost no buffer */
		free(line->in);
		line->in = NULL;
		line->room = 0;
	}
	if (line->out && !line->to.ssl)
		send_request(line); /* it was closed as this was on its way */
}

int main(int argc, char **argv)
{
	struct epoll_event end = { .events = EPOLLIN }, events[EVENTS];
	int count = argc == 6 ? atoi(argv[4]) : 0, got;
	struct site *sites = calloc((size_t)count + 1, sizeof(*sites));

	if (count < 1 || !sites) {
		fputs("usage: see the beginning of many_sites.c\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* a line that was closed meanwhile is noticed by its error */
	allow_many_files();
	identities_load(argv[2], argv[3], argv[5], count, atoi(argv[1]));
	ready = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(ready, EPOLL_CTL_ADD, STDIN_FILENO, &end);
	for (int i = 0; i < count; i++) {
		sites[i].number = i;
		sites[i].poll.site = sites[i].work.site = &sites[i];
		uuid_new(world_real(), sites[i].instance);
		ask(&sites[i]);
	}
	puts("waiting");
	fflush(stdout);
	for (;;) {
		got = epoll_wait(ready, events, EVENTS, -1);
		for (int i = 0; i < got; i++) {
			if (!events[i].data.ptr)
				return printf("%d %d\n", taken, refused) < 0;
			hear(events[i].data.ptr);
		}
	}
}
