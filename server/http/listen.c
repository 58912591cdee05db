/*
 * The socket that the server listens on. It is ours and not the library's: that one would share a port with whoever
 * listens there already (SO_REUSEPORT), and half of the sites would then speak to another server without a word.
 */
#include "server/http/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int parse(const struct http_options *options, struct sockaddr_storage *address, struct rounds_error *error)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, options->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(options->port);
		return 0;
	}
	if (inet_pton(AF_INET6, options->address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(options->port);
		return 0;
	}
	return error_set(error, ERROR_INVALID, "address \"%s\" is not an IPv4 or IPv6 address", options->address);
}

static int fail(const struct http_options *options, struct rounds_error *error)
{
	switch (errno) {
	case EADDRINUSE:
		return error_set(error, ERROR_CONFLICT,
			"another program already listens on port %u of %s, perhaps a rounds-server: stop it, or "
			"choose another port with --port",
			options->port, options->address);
	case EADDRNOTAVAIL:
		return error_set(error, ERROR_INVALID, "this machine has no address %s to listen on; see --address",
			options->address);
	case EACCES:
		return error_set(error, ERROR_FORBIDDEN,
			"this user may not listen on port %u: choose one above 1023 with --port", options->port);
	default:
		return error_errno(error, "cannot listen on port %u of %s", options->port, options->address);
	}
}

int listen_open(const struct http_options *options, int *listener, uint16_t *port, struct rounds_error *error)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	int fd, yes = 1, no = 0;

	if (parse(options, &address, error))
		return -1;
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(options, error);
	/* Connections of a server that has just stopped do not keep its port. On Linux this shares it with nobody. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	/* `::` is every address of this machine, IPv4's too, whatever the system's default. */
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, BACKLOG) ||
		getsockname(fd, (struct sockaddr *)&address, &size)) {
		fail(options, error);
		close(fd);
		return -1;
	}
	*listener = fd;
	*port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
						    : ((struct sockaddr_in *)&address)->sin_port);
	return 0;
}
