/*
 * The PROXY protocol, version 2 (haproxy's doc/proxy-protocol.txt): a header in front of TLS in which a proxy that passes
 * TLS through says whose connection this is. It is read by the session's own pull function and gone before the handshake.
 */
#include "server/http/wires.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	FIXED = 16,
	BODY_LIMIT = 2048,
	COMMAND_LOCAL = 0x20,
	COMMAND_PROXY = 0x21,
	OVER_IPV4 = 0x11,
	OVER_IPV6 = 0x21
};

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

struct proxy_header {
	size_t size;
	uint8_t bytes[FIXED + BODY_LIMIT];
};

static size_t wanted(const struct proxy_header *header)
{
	return header->size < FIXED ? FIXED : FIXED + (size_t)(header->bytes[14] << 8 | header->bytes[15]);
}

static bool is_good(const struct proxy_header *header)
{
	const uint8_t *bytes = header->bytes;

	return !memcmp(bytes, signature, sizeof(signature)) &&
	       (bytes[12] == COMMAND_LOCAL || bytes[12] == COMMAND_PROXY) && wanted(header) <= sizeof(header->bytes);
}

/* LOCAL is the proxy itself, asking after our health; addresses of other families say nothing here. */
static void take_address(struct wire *wire, const struct proxy_header *header)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	size_t size = header->size - FIXED;

	if (header->bytes[12] != COMMAND_PROXY)
		return;
	if (header->bytes[13] == OVER_IPV4 && size >= 12) {
		memcpy(&v4.sin_addr, header->bytes + FIXED, 4);
		wire_moved(wire, (const struct sockaddr *)&v4);
	} else if (header->bytes[13] == OVER_IPV6 && size >= 36) {
		memcpy(&v6.sin6_addr, header->bytes + FIXED, 16);
		wire_moved(wire, (const struct sockaddr *)&v6);
	}
}

/* 0: the header is read; -1 with errno: not yet, or it is none. */
static int read_header(struct wire *wire)
{
	struct proxy_header *header = wire->proxy;

	while (header->size < FIXED || header->size < wanted(header)) {
		ssize_t got = recv(wire->socket, header->bytes + header->size, wanted(header) - header->size, 0);

		if (got <= 0) {
			errno = got == 0 ? ECONNRESET : errno;
			return -1;
		}
		header->size += (size_t)got;
		if (header->size >= FIXED && !is_good(header)) {
			errno = EPROTO;
			return -1;
		}
	}
	take_address(wire, header);
	free(header);
	wire->proxy = NULL;
	return 0;
}

static ssize_t pull(gnutls_transport_ptr_t transport, void *bytes, size_t room)
{
	struct wire *wire = transport;

	if (wire->proxy && read_header(wire))
		return -1;
	return recv(wire->socket, bytes, room, 0);
}

static int wait_for_bytes(gnutls_transport_ptr_t transport, unsigned milliseconds)
{
	struct wire *wire = transport;
	struct pollfd look = { .fd = wire->socket, .events = POLLIN };

	return poll(&look, 1, milliseconds == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)milliseconds);
}

int proxy_expect(struct wire *wire, gnutls_session_t session)
{
	wire->proxy = calloc(1, sizeof(*wire->proxy));
	if (!wire->proxy)
		return -1;
	gnutls_transport_set_ptr2(session, wire, (gnutls_transport_ptr_t)(intptr_t)wire->socket);
	gnutls_transport_set_pull_function(session, pull);
	gnutls_transport_set_pull_timeout_function(session, wait_for_bytes);
	return 0;
}
