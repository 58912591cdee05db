/*
 * The least that can be done with libmicrohttpd over TLS, to compare with: PUT writes a body to a file, GET sends a file.
 *
 *     bare_server CERT.pem KEY.pem DIRECTORY     prints its port, serves until its standard input ends
 */
#include "common/file.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct transfer {
	int fd;
	uint64_t size;
};

static ssize_t read_part(void *context, uint64_t position, char *buffer, size_t room)
{
	struct transfer *transfer = context;
	ssize_t got = pread(transfer->fd, buffer, room, (off_t)position);

	return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_transfer(void *context)
{
	struct transfer *transfer = context;

	close(transfer->fd);
	free(transfer);
}

static enum MHD_Result send_file(struct MHD_Connection *connection, struct transfer *transfer)
{
	struct stat status;
	struct MHD_Response *response;
	enum MHD_Result queued;

	if (fstat(transfer->fd, &status))
		return MHD_NO;
	response = MHD_create_response_from_callback(
		(uint64_t)status.st_size, 256 * 1024, read_part, transfer, free_transfer);
	queued = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return queued;
}

static enum MHD_Result answer(void *directory, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *bytes, size_t *size, void **state)
{
	struct transfer *transfer = *state;
	bool put = !strcmp(method, "PUT");
	struct MHD_Response *response;
	enum MHD_Result queued;
	char path[400];

	(void)version;
	if (!transfer) {
		transfer = *state = calloc(1, sizeof(*transfer));
		snprintf(path, sizeof(path), "%s%s", (const char *)directory, url);
		if (!transfer || strstr(url, "..") ||
			(transfer->fd = open(path, put ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY, 0600)) < 0)
			return MHD_NO;
		return MHD_YES;
	}
	if (*size > 0) {
		if (file_pwrite_all(transfer->fd, bytes, *size, transfer->size, NULL))
			return MHD_NO;
		transfer->size += *size;
		*size = 0;
		return MHD_YES;
	}
	if (!put)
		return send_file(connection, transfer);
	free_transfer(transfer);
	response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	queued = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return queued;
}

int main(int argc, char **argv)
{
	scoped(text_free) char *cert = NULL;
	scoped(text_free) char *key = NULL;
	struct rounds_error error = { 0 };
	struct MHD_Daemon *daemon;

	if (argc != 4 || file_read(argv[1], 100000, &cert, NULL, &error) ||
		file_read(argv[2], 100000, &key, NULL, &error)) {
		fprintf(stderr, "usage: bare_server CERT.pem KEY.pem DIRECTORY %s\n", error.message);
		return 2;
	}
	daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS, 0, NULL, NULL, answer, argv[3],
		MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)256 * 1024,
		MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_END);
	if (!daemon)
		return 1;
	printf("%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	while (getchar() != EOF)
		;
	MHD_stop_daemon(daemon);
	return 0;
}
