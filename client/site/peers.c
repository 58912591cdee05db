#include "client/site/peers.h"

#include "client/http.h"
#include "client/site/keys.h"
#include "client/site/pins.h"
#include "client/site/settings.h"
#include "common/file.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/seal/fingerprint.h"
#include "common/seal/peer_list.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_LIMIT = 32 << 20 };

static void print_fingerprint(const char *label, const struct site_keys *keys)
{
	struct rounds_error ignored;
	uint8_t fingerprint[FINGERPRINT_SIZE];
	char text[FINGERPRINT_TEXT_SIZE], words[FINGERPRINT_WORDS_SIZE];

	if (keys->generation == 0 || fingerprint_of(&keys->identity, fingerprint, &ignored))
		return;
	fingerprint_text(fingerprint, text);
	fingerprint_words(fingerprint, words);
	printf("    %-10s %s\n    %-10s %s\n", label, text, "", words);
}

/* The name that this site has joined under. */
static int own_name(const json_t *settings, char **name, struct rounds_error *error)
{
	*name = state_word(settings, "site.name");
	if (*name && name_is_valid(*name))
		return 0;
	free(*name);
	*name = NULL;
	return error_set(error, ERROR_INVALID, "this site has not joined a server yet: see rounds-site join");
}

static int newest_own(const json_t *settings, const char *name, struct site_keys *newest, struct rounds_error *error)
{
	scoped(own_keys) struct own_keys keys = { 0 };

	return keys_open(settings, name, &keys, error) ||
			       statement_read(&keys.statements[keys.count - 1], newest, error)
		       ? -1
		       : 0;
}

static int show_own(const json_t *settings, const char *name, struct rounds_error *error)
{
	struct site_keys keys;

	if (newest_own(settings, name, &keys, error))
		return -1;
	printf("%s (this site), generation %llu\n", name, (unsigned long long)keys.generation);
	print_fingerprint("own", &keys);
	return 0;
}

int own_keys_show(const json_t *settings, struct rounds_error *error)
{
	scoped(text_free) char *name = NULL;

	return own_name(settings, &name, error) || show_own(settings, name, error) ? -1 : 0;
}

int own_keys_change(const json_t *settings, struct rounds_error *error)
{
	scoped(text_free) char *name = NULL;
	scoped(text_free) char *lock_path = state_path(settings, "lock");
	scoped(own_keys) struct own_keys keys = { 0 };
	scoped(file_close) int lock = -1;

	if (!lock_path)
		return error_no_memory(error);
	if (own_name(settings, &name, error))
		return -1;
	lock = file_lock(lock_path, error);
	if (lock < 0)
		return error_prefix(error, "stop rounds-site first, it tells the keys that it started with");
	if (keys_open(settings, name, &keys, error) || keys_renew(settings, name, &keys, error) ||
		show_own(settings, name, error))
		return -1;
	puts("The new keys are signed with the old one, so peers that have confirmed that one follow.");
	return 0;
}

static int fetch(const json_t *settings, json_t **answer, struct rounds_error *error)
{
	scoped(connection_free) struct connection *connection = NULL;
	scoped(text_free) char *joined = state_word(settings, "server");
	scoped(text_free) char *ca = state_path(settings, "ca.pem");
	scoped(text_free) char *cert = state_path(settings, "site.pem");
	scoped(text_free) char *key = state_path(settings, "site.key");
	struct connection_options options = {
		.url = json_text_or(settings, "server", joined ? joined : ""),
		.ca_file = json_text_or(settings, "ca_file", ca),
		.cert_file = cert,
		.key_file = key,
		.proxy = json_text_or(settings, "proxy", NULL),
		.answer_limit = ANSWER_LIMIT,
	};

	if (!ca || !cert || !key)
		return error_no_memory(error);
	if (connection_new(&options, &connection, error))
		return -1;
	if (connection_call(connection, "GET", "/api/v1/peers", NULL, 30, answer, error) == 0)
		return 0;
	if (error->kind == ERROR_NOT_FOUND)
		return error_set(error, ERROR_UPGRADE, "the server does not know of sites' keys: it is an older one");
	return -1;
}

/* {site: statements} of the server's answer, names checked; of a site that stands there twice nothing is believed. */
static json_t *directory_of(const json_t *answer)
{
	json_t *directory = json_object(), *item;
	size_t i;

	json_array_foreach (json_object_get(answer, "items"), i, item) {
		const char *site = json_text_or(item, "site", NULL);
		json_t *statements = json_object_get(item, "statements");

		if (!site || !name_is_valid(site))
			continue;
		if (json_object_get(directory, site) || !json_is_array(statements))
			json_object_set_new(directory, site, json_array());
		else
			json_object_set(directory, site, statements);
	}
	return directory;
}

static const struct {
	bool refused;
	const char *says;
} standings[] = {
	[PEER_NEW] = { false, "not confirmed: nothing is sealed to it" },
	[PEER_PINNED] = { false, "confirmed" },
	[PEER_CHANGED] = { true,
		"REFUSED: this is another key than the one that was confirmed, which has not signed it" },
	[PEER_OLDER] = { true, "REFUSED: the server shows keys from before those that are confirmed" },
	[PEER_FORGED] = { true, "REFUSED: what the server shows does not prove itself" },
	[PEER_REVOKED] = { false, "revoked here: nothing is sealed to it" },
	[PEER_ABSENT] = { false, "confirmed, and the server shows nothing of it" },
};

static void print_peer(const char *site, const struct peer *peer)
{
	printf("%s: %s%s%s\n", site, standings[peer->standing].says, peer->why[0] ? ": " : "", peer->why);
	if (peer->standing != PEER_PINNED && peer->standing != PEER_ABSENT)
		print_fingerprint("shown", &peer->shown);
	print_fingerprint("confirmed", &peer->pinned);
}

/* A server that shows other keys of this very site lies to the others, or this state directory is an older copy. */
static int check_own(const json_t *settings, const char *name, const json_t *statements, struct rounds_error *error)
{
	scoped(own_keys) struct own_keys keys = { 0 };
	const char *newest = json_string_value(json_array_get(statements, json_array_size(statements) - 1));
	char text[STATEMENT_TEXT_SIZE];

	if (!newest)
		return 0; /* the daemon has not told them yet */
	if (keys_open(settings, name, &keys, error))
		return -1;
	for (size_t i = 0; i < keys.count; i++) {
		statement_format(&keys.statements[i], text);
		if (!strcmp(text, newest))
			return 0;
	}
	return error_set(error, ERROR_CONFLICT,
		"the server shows other keys of this site than its own: either the state directory is an older copy, or the "
		"server lies to the others");
}

/* *list: a new reference; NULL if site.json names none. */
static int read_list(const json_t *settings, struct pins *pins, json_t **list, struct rounds_error *error)
{
	const char *path = json_text_or(settings, "peers_file", NULL),
		   *key = json_text_or(settings, "peers_key", NULL);
	struct public_key public_key;
	int64_t number;

	*list = NULL;
	if (!path && !key)
		return 0;
	if (!path || !key || !hex_parse(key, public_key.bytes, KEY_SIZE))
		return error_field(error, path ? "peers_key" : "peers_file",
			"is needed, too: peers_file and peers_key belong together, a file and 64 hexadecimal digits");
	if (json_parse_file(path, list, error) || peer_list_check(*list, &public_key, &number, error))
		return error_prefix(error, "%.200s", path);
	return pins_note_list(pins, number, error);
}

/* A key that the consortium's list names is confirmed. */
static int confirm_listed(
	struct pins *pins, const char *site, const json_t *list, struct peer *peer, struct rounds_error *error)
{
	if ((peer->standing != PEER_NEW && peer->standing != PEER_CHANGED) ||
		!peer_list_has(list, site, &peer->shown.identity))
		return 0;
	peer->standing = PEER_PINNED;
	return pins_confirm(pins, site, true, &peer->pinned, error);
}

static int meet_all(struct pins *pins, const char *own, json_t *directory, const json_t *list, bool *refused,
	struct rounds_error *error)
{
	json_auto_t *known = pins_sites(pins);
	const char *site;
	json_t *statements, *name;
	struct peer peer;
	size_t i;

	json_array_foreach (known, i, name)
		if (!json_object_get(directory, json_string_value(name)))
			json_object_set_new(directory, json_string_value(name), json_null());
	json_object_foreach (directory, site, statements) {
		if (!strcmp(site, own))
			continue;
		if (pins_meet(pins, site, json_is_null(statements) ? NULL : statements, &peer, error) ||
			confirm_listed(pins, site, list, &peer, error))
			return -1;
		if (json_is_null(statements) && peer.standing != PEER_ABSENT)
			continue;
		print_peer(site, &peer);
		*refused |= standings[peer.standing].refused;
	}
	return pins_save(pins, error);
}

int peers_show(const json_t *settings, struct rounds_error *error)
{
	scoped(text_free) char *name = NULL;
	scoped(pins_free) struct pins *pins = NULL;
	json_auto_t *answer = NULL, *directory = NULL, *list = NULL;
	bool refused = false;

	if (own_name(settings, &name, error) || fetch(settings, &answer, error) ||
		pins_open(settings, &pins, error) || read_list(settings, pins, &list, error) ||
		show_own(settings, name, error))
		return -1;
	directory = directory_of(answer);
	if (!directory)
		return error_no_memory(error);
	if (meet_all(pins, name, directory, list, &refused, error) ||
		check_own(settings, name, json_object_get(directory, name), error))
		return -1;
	puts("Read a fingerprint to the other site's administrator by telephone; where it is theirs, run\n"
	     "`rounds-site peers confirm NAME`.");
	return refused ? error_set(error, ERROR_CONFLICT, "keys are refused: see above") : 0;
}

static int confirm_all(struct pins *pins, struct rounds_error *error)
{
	json_auto_t *names = pins_sites(pins);
	size_t i, left = 0;
	json_t *name;

	json_array_foreach (names, i, name) {
		const char *site = json_string_value(name);
		struct site_keys keys = { 0 };
		struct rounds_error why = { 0 };

		if (pins_confirm(pins, site, false, &keys, &why) == 0) {
			printf("%s: confirmed\n", site);
			print_fingerprint("confirmed", &keys);
		} else if (keys.generation) {
			fprintf(stderr, "rounds-site: %s\n", why.message);
			left += why.kind == ERROR_CONFLICT;
		}
	}
	if (pins_save(pins, error))
		return -1;
	return left ? error_set(error, ERROR_CONFLICT, "%zu of the sites can be confirmed by name alone", left) : 0;
}

int peers_confirm(const json_t *settings, const char *site, struct rounds_error *error)
{
	scoped(pins_free) struct pins *pins = NULL;
	struct site_keys keys = { 0 };

	if (pins_open(settings, &pins, error))
		return -1;
	if (!site)
		return confirm_all(pins, error);
	if (pins_confirm(pins, site, true, &keys, error) || pins_save(pins, error))
		return -1;
	printf("%s: confirmed\n", site);
	print_fingerprint("confirmed", &keys);
	return 0;
}

int peers_revoke(const json_t *settings, const char *site, struct rounds_error *error)
{
	scoped(pins_free) struct pins *pins = NULL;
	struct site_keys keys = { 0 };

	if (pins_open(settings, &pins, error) || pins_revoke(pins, site, &keys, error) || pins_save(pins, error))
		return -1;
	printf("%s: revoked; nothing is sealed to it\n", site);
	print_fingerprint("revoked", &keys);
	return 0;
}
