/*
 * The keys of other sites that this site's administrator has confirmed. The server passes keys on and could put its own in their
 * place; so a key counts here when someone has compared its fingerprint with the other site, by telephone, once. Nothing is sealed
 * to a key that is not pinned.
 *
 *     STATE/pins.json: {"sites": {SITE: {"pinned": STATEMENT, "since": TIME, "shown": STATEMENT, "revoked": STATEMENT}},
 *                       "list": NUMBER}
 *
 * `shown` is what `rounds-site peers` has shown of the site and nobody has confirmed; confirming pins that and asks no server, so
 * what was compared is what is pinned. A pinned key that is followed by others which the one before has signed is followed; any
 * other key is refused until it is confirmed by name. A consortium's signed list (common/seal/peer_list.h) confirms what it names,
 * but for what was revoked here; `list` is the number of the newest that was seen.
 */
#ifndef ROUNDS_CLIENT_SITE_PINS_H
#define ROUNDS_CLIENT_SITE_PINS_H

#include "common/seal/site_keys.h"

#include <jansson.h>

enum peer_standing {
	PEER_NEW,     /* shown, not confirmed */
	PEER_PINNED,  /* as it was confirmed, or what follows on that */
	PEER_CHANGED, /* another key than the one that was confirmed, and that one has not signed it */
	PEER_OLDER,   /* from before what is pinned */
	PEER_FORGED,  /* statements that do not prove themselves */
	PEER_REVOKED, /* this site's administrator has revoked it */
	PEER_ABSENT   /* pinned, and the server shows nothing of it */
};

struct peer {
	enum peer_standing standing;
	struct site_keys pinned, shown; /* of generation 0: none */
	char why[300];                  /* PEER_FORGED: what is wrong */
};

struct pins;

/* Reads the state directory's pins and holds their lock until pins_free. */
must_check int pins_open(const json_t *settings, struct pins **pins, struct rounds_error *error);
void pins_free(struct pins *pins);
DEFINE_CLEANUP(struct pins *, pins_free);
/* Durably. */
must_check int pins_save(const struct pins *pins, struct rounds_error *error);

/* Takes note of a list's number; ERROR_CONFLICT if a newer list was seen before. */
must_check int pins_note_list(struct pins *pins, int64_t number, struct rounds_error *error);

/* What the server shows of a site (`statements`: JSON texts, oldest first; NULL: nothing) meets what is known. */
must_check int pins_meet(
	struct pins *pins, const char *site, const json_t *statements, struct peer *peer, struct rounds_error *error);

/* Pins what was shown. ERROR_NOT_FOUND if nothing was. `by_name`: also in place of another key, or of one that was revoked. */
must_check int pins_confirm(
	struct pins *pins, const char *site, bool by_name, struct site_keys *keys, struct rounds_error *error);
must_check int pins_revoke(struct pins *pins, const char *site, struct site_keys *keys, struct rounds_error *error);

/* The pinned keys; ERROR_FORBIDDEN without any. */
must_check int pins_find(
	const struct pins *pins, const char *site, struct site_keys *keys, struct rounds_error *error);

/* The names of all sites that something is known of, in order: a new reference; NULL without memory. */
json_t *pins_sites(const struct pins *pins);

#endif
