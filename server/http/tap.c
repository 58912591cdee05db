/*
 * Puts the framing (framing.h) between GnuTLS and libmicrohttpd: this program's own gnutls_record_recv and
 * gnutls_record_check_pending take the place of GnuTLS's for libmicrohttpd too, as a malloc of one's own would, since a
 * program's symbols come before its libraries'. They hand on to GnuTLS's, and so does gnutls_handshake (handshake.c). So no
 * byte is copied twice, no descriptor or thread is spent on a connection, and the bytes of a large body go straight where they
 * went before. The other way, to end TLS ourselves and hand the library one end of a socket pair, costs all of that.
 *
 * tap_start refuses where the linker has not made it so, and a request that did not come through here is never answered.
 */
#include "server/http/request.h"

#include <dlfcn.h>

static ssize_t (*library_recv)(gnutls_session_t session, void *bytes, size_t room);
static size_t (*library_pending)(gnutls_session_t session);
static int (*library_handshake)(gnutls_session_t session);

/* The one pointer of a session that libmicrohttpd leaves to us; other sessions of this process have none. */
static struct wire *wire_of(gnutls_session_t session)
{
	return gnutls_db_get_ptr(session);
}

static ssize_t receive(void *session, void *bytes, size_t room)
{
	return library_recv(session, bytes, room);
}

ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t data_size)
{
	struct wire *wire = wire_of(session);
	ssize_t got;

	if (!wire)
		return library_recv(session, data, data_size);
	got = framing_read(&wire->framing, receive, session, data, data_size);
	wire_read(wire, got);
	return got;
}

size_t gnutls_record_check_pending(gnutls_session_t session)
{
	struct wire *wire = wire_of(session);

	return (wire ? framing_held(&wire->framing) : 0) + library_pending(session);
}

int gnutls_handshake(gnutls_session_t session)
{
	struct wire *wire = wire_of(session);
	int code = library_handshake(session);

	if (wire && code == GNUTLS_E_AGAIN && gnutls_record_get_direction(session) == 0)
		(void)handshakes_set_aside(wire);
	return code;
}

void tap_session(gnutls_session_t session, struct wire *wire)
{
	gnutls_db_set_ptr(session, wire);
}

int tap_start(struct rounds_error *error)
{
	ssize_t (*seen)(gnutls_session_t session, void *bytes, size_t room);

	*(void **)&library_recv = dlsym(RTLD_NEXT, "gnutls_record_recv");
	*(void **)&library_pending = dlsym(RTLD_NEXT, "gnutls_record_check_pending");
	*(void **)&library_handshake = dlsym(RTLD_NEXT, "gnutls_handshake");
	*(void **)&seen = dlsym(RTLD_DEFAULT, "gnutls_record_recv");
	if (library_recv && library_pending && library_handshake && seen == gnutls_record_recv)
		return 0;
	return error_set(error, ERROR_INTERNAL,
		"this program was linked so that requests are not checked before they are parsed: it must export its "
		"gnutls_record_recv");
}
