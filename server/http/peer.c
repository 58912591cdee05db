/* Who is at the other end of a connection, by its certificate. */
#include "server/http/request.h"

#include "common/hex.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

/* Signed by our authority for use as a client, and in its time? None at all is also let through, as nobody. */
static bool is_trusted(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
	};
	unsigned status = 1;

	return gnutls_certificate_verify_peers(session, &purpose, 1, &status) == GNUTLS_E_SUCCESS && status == 0;
}

static bool read_names(const gnutls_datum_t *der, struct peer *peer)
{
	gnutls_x509_crt_t certificate;
	unsigned char serial[(sizeof(peer->serial) - 1) / 2];
	size_t name_size = sizeof(peer->name), serial_size = sizeof(serial);
	bool good;

	if (gnutls_x509_crt_init(&certificate) != GNUTLS_E_SUCCESS)
		return false;
	good = gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS &&
	       gnutls_x509_crt_get_dn_by_oid(
		       certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, peer->name, &name_size) == GNUTLS_E_SUCCESS &&
	       gnutls_x509_crt_get_serial(certificate, serial, &serial_size) == GNUTLS_E_SUCCESS;
	if (good) {
		hex_format(serial, serial_size, peer->serial);
		for (char *c = peer->serial; *c; c++)
			*c = (char)toupper((unsigned char)*c);
	}
	gnutls_x509_crt_deinit(certificate);
	return good;
}

void peer_address(const struct sockaddr *address, struct peer *peer)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	const void *bytes = &((const struct sockaddr_in *)address)->sin_addr;
	int family = AF_INET;

	/* Who comes by IPv4 to a socket for both families has the address that it would have at one for IPv4. */
	if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		bytes = &v6->sin6_addr.s6_addr[12];
	} else if (address->sa_family == AF_INET6) {
		bytes = &v6->sin6_addr;
		family = AF_INET6;
	}
	if (!inet_ntop(family, bytes, peer->address, sizeof(peer->address)))
		peer->address[0] = '\0';
}

void peer_look(struct peer *peer, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info;
	const gnutls_datum_t *chain;
	unsigned length = 0;

	if (peer->looked)
		return;
	peer->looked = true;
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (!info || !info->tls_session)
		return;
	chain = gnutls_certificate_get_peers((gnutls_session_t)info->tls_session, &length);
	if (chain && length && is_trusted((gnutls_session_t)info->tls_session))
		peer->verified = read_names(&chain[0], peer);
}
