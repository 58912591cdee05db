/* How a site comes in, renews its certificate, and is sent away. */
#ifndef ROUNDS_SERVER_AUTH_SITES_H
#define ROUNDS_SERVER_AUTH_SITES_H

#include "server/auth/auth.h"
#include "server/auth/authority.h"

/* Good once, for a day: a secret and the authority's fingerprint, so that a site knows whom it joins. */
struct invitation {
	const char *site; /* the caller's, as is the next */
	bool replaces;    /* whoever joins with it takes the place of a site that is there */
	char id[40];      /* filled, as is all that follows */
	char text[160];   /* SECRET.FINGERPRINT: shown once */
	int64_t expires_us;
};
/* Older ones for the same site are void from now on. ERROR_CONFLICT if the site is there and is not to be replaced. */
must_check int auth_invite(struct auth *auth, const struct authority *authority, const char *by,
	struct invitation *invitation, struct rounds_error *error);

struct admission {
	char site[64];
	char *certificate; /* PEM; the caller frees */
	bool replaced;     /* there was a site of this name: its certificate is refused from now on */
};

/*
 * A certificate for whoever holds the invitation. ERROR_UNAUTHENTICATED: it is unknown, used, void or over. A request that
 * is wrong uses nothing up. The authority signs outside the store's transaction.
 */
must_check int auth_join(struct auth *auth, const struct authority *authority, const char *invitation,
	const char *request_pem, struct admission *admission, struct rounds_error *error);

/* For a site that asks with the certificate of serial `with`, which serves until its own end. */
must_check int auth_site_renew(struct auth *auth, const struct authority *authority, const char *site,
	const char *with, const char *request_pem, struct admission *admission, struct rounds_error *error);

/* Its certificate is refused and its invitation void from now on. */
must_check int auth_site_remove(struct auth *auth, const char *name, struct rounds_error *error);

#endif
