#include "client/site/pins.h"

#include "client/site/settings.h"
#include "common/file.h"
#include "common/json.h"
#include "common/world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct pins {
	char *path;
	int lock;
	json_t *file, *sites; /* sites: borrowed from the file */
};

/* A statement that an entry holds under this name; false if it holds none. */
static bool entry_read(const json_t *entry, const char *name, struct statement *statement, struct site_keys *keys)
{
	const char *text = json_text_or(entry, name, NULL);
	struct rounds_error ignored;

	return text && statement_parse(text, statement, &ignored) == 0 &&
	       statement_read(statement, keys, &ignored) == 0;
}

static int entry_write(json_t *entry, const char *name, const struct statement *statement, struct rounds_error *error)
{
	char text[STATEMENT_TEXT_SIZE];

	statement_format(statement, text);
	return json_object_set_new(entry, name, json_string(text)) ? error_no_memory(error) : 0;
}

/* Whatever the file holds proves itself, or nothing of it is believed. */
static int check_entries(const struct pins *pins, struct rounds_error *error)
{
	static const char *const names[] = { "pinned", "shown", "revoked" };
	const char *site;
	json_t *entry;
	struct statement statement;
	struct site_keys keys;

	json_object_foreach (pins->sites, site, entry)
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (json_object_get(entry, names[i]) &&
				(!entry_read(entry, names[i], &statement, &keys) || strcmp(keys.site, site) != 0))
				return error_set(error, ERROR_INVALID,
					"%.300s is damaged at \"%s\" of %.63s: put it back from a backup, or remove it and "
					"confirm all peers anew",
					pins->path, names[i], site);
	return 0;
}

static int read_file(struct pins *pins, struct rounds_error *error)
{
	if (access(pins->path, F_OK))
		pins->file = json_pack("{s:{}}", "sites");
	else if (json_parse_file(pins->path, &pins->file, error))
		return -1;
	if (!pins->file)
		return error_no_memory(error);
	pins->sites = json_object_get(pins->file, "sites");
	if (!json_is_object(pins->sites))
		return error_set(error, ERROR_INVALID, "%.300s has no object \"sites\"", pins->path);
	return check_entries(pins, error);
}

int pins_open(const json_t *settings, struct pins **pins, struct rounds_error *error)
{
	scoped(text_free) char *lock = state_path(settings, "pins.lock");
	scoped(pins_free) struct pins *opened = calloc(1, sizeof(*opened));

	if (!lock || !opened)
		return error_no_memory(error);
	opened->lock = -1;
	opened->path = state_path(settings, "pins.json");
	if (!opened->path)
		return error_no_memory(error);
	opened->lock = file_lock(lock, error);
	if (opened->lock < 0)
		return error_prefix(error, "another command looks at the peers");
	if (read_file(opened, error))
		return -1;
	*pins = opened;
	opened = NULL;
	return 0;
}

void pins_free(struct pins *pins)
{
	if (!pins)
		return;
	json_decref(pins->file);
	file_close(pins->lock);
	free(pins->path);
	free(pins);
}

int pins_save(const struct pins *pins, struct rounds_error *error)
{
	scoped(text_free) char *text = json_dumps(pins->file, JSON_INDENT(1) | JSON_SORT_KEYS);

	return text ? file_replace(pins->path, text, strlen(text), 0600, error) : error_no_memory(error);
}

int pins_note_list(struct pins *pins, int64_t number, struct rounds_error *error)
{
	int64_t seen = json_integer_or(pins->file, "list", 0);

	if (number < seen)
		return error_set(error, ERROR_CONFLICT,
			"the list of peers has the number %lld, and one with %lld was here before: it is an older one",
			(long long)number, (long long)seen);
	return json_object_set_new(pins->file, "list", json_integer(number)) ? error_no_memory(error) : 0;
}

/* The statements of a site as the server shows them: each proves itself, is of this site and follows on the one before. */
static int read_chain(
	const char *site, const json_t *texts, struct statement *chain, size_t *count, struct rounds_error *error)
{
	enum { MOST = 16 };
	struct site_keys keys;

	*count = json_array_size(texts);
	if (*count == 0 || *count > MOST)
		return error_set(error, ERROR_INVALID, "there are no statements, or too many");
	for (size_t i = 0; i < *count; i++) {
		if (statement_parse(json_string_value(json_array_get(texts, i)), &chain[i], error) ||
			statement_read(&chain[i], &keys, error) ||
			(i && statement_follows(&chain[i - 1], &chain[i], error)))
			return -1;
		if (strcmp(keys.site, site) != 0)
			return error_set(error, ERROR_INVALID, "they are those of the site %s", keys.site);
	}
	return 0;
}

static bool chain_has(const struct statement *chain, size_t count, const struct statement *statement)
{
	for (size_t i = 0; i < count; i++)
		if (statement_equal(&chain[i], statement))
			return true;
	return false;
}

/* As far as it can be told: the one right before what is pinned, or one of the same identity. */
static bool is_older(const struct statement *newest, const struct peer *peer)
{
	struct digest digest;

	digest_of(newest->bytes, newest->size, &digest);
	return digest_equal(&digest, &peer->pinned.previous) ||
	       (!memcmp(peer->pinned.identity.bytes, peer->shown.identity.bytes, KEY_SIZE) &&
		       peer->shown.generation < peer->pinned.generation);
}

/* A chain that was read meets an entry: follows, or is another one's. */
static enum peer_standing compare(const json_t *entry, const struct statement *chain, size_t count, struct peer *peer)
{
	struct statement known;
	struct site_keys revoked;

	if (entry_read(entry, "pinned", &known, &peer->pinned)) {
		if (chain_has(chain, count, &known))
			return PEER_PINNED;
		return is_older(&chain[count - 1], peer) ? PEER_OLDER : PEER_CHANGED;
	}
	if (entry_read(entry, "revoked", &known, &revoked) &&
		(chain_has(chain, count, &known) ||
			!memcmp(revoked.identity.bytes, peer->shown.identity.bytes, KEY_SIZE)))
		return PEER_REVOKED;
	return PEER_NEW;
}

/* What is pinned moves on to the newest statement; what nobody has confirmed is noted as shown. */
static int note(json_t *entry, const struct statement *newest, struct peer *peer, struct rounds_error *error)
{
	if (peer->standing == PEER_OLDER)
		return 0;
	if (peer->standing == PEER_PINNED)
		peer->pinned = peer->shown;
	return entry_write(entry, peer->standing == PEER_PINNED ? "pinned" : "shown", newest, error);
}

int pins_meet(
	struct pins *pins, const char *site, const json_t *statements, struct peer *peer, struct rounds_error *error)
{
	json_t *entry = json_object_get(pins->sites, site);
	struct statement chain[16], known;
	struct rounds_error why = { 0 };
	size_t count = 0;

	*peer = (struct peer){ 0 };
	if (!entry && json_object_set_new(pins->sites, site, entry = json_object()))
		return error_no_memory(error);
	json_object_del(entry, "shown");
	if (!statements) {
		peer->standing = entry_read(entry, "pinned", &known, &peer->pinned) ? PEER_ABSENT : PEER_REVOKED;
		if (json_object_size(entry) == 0)
			json_object_del(pins->sites, site); /* it was shown once, and nobody confirmed it */
		return 0;
	}
	if (read_chain(site, statements, chain, &count, &why)) {
		peer->standing = PEER_FORGED;
		entry_read(entry, "pinned", &known, &peer->pinned);
		snprintf(peer->why, sizeof(peer->why), "%.290s", why.message);
		return 0;
	}
	if (statement_read(&chain[count - 1], &peer->shown, error))
		return -1;
	peer->standing = compare(entry, chain, count, peer);
	return note(entry, &chain[count - 1], peer, error);
}

int pins_confirm(
	struct pins *pins, const char *site, bool by_name, struct site_keys *keys, struct rounds_error *error)
{
	json_t *entry = json_object_get(pins->sites, site);
	struct statement shown;
	char now[TIME_TEXT_SIZE];

	if (!entry_read(entry, "shown", &shown, keys)) {
		if (json_object_get(entry, "pinned"))
			return error_set(error, ERROR_CONFLICT, "%.63s is confirmed already", site);
		return error_set(error, ERROR_NOT_FOUND,
			"no key of %.63s was shown here yet: run `rounds-site peers` and compare what it shows",
			site);
	}
	if (!by_name && (json_object_get(entry, "pinned") || json_object_get(entry, "revoked")))
		return error_set(error, ERROR_CONFLICT,
			"the key of %.63s is another one than before, or was revoked: it can be confirmed by name alone",
			site);
	time_format(world_wall_us(world_real()), now);
	json_object_del(entry, "shown");
	json_object_del(entry, "revoked");
	json_object_set_new(entry, "since", json_string(now));
	return entry_write(entry, "pinned", &shown, error);
}

int pins_revoke(struct pins *pins, const char *site, struct site_keys *keys, struct rounds_error *error)
{
	json_t *entry = json_object_get(pins->sites, site);
	struct statement statement;

	if (!entry_read(entry, "pinned", &statement, keys) && !entry_read(entry, "shown", &statement, keys))
		return error_set(error, ERROR_NOT_FOUND, "no key of %.63s is known here", site);
	json_object_clear(entry);
	return entry_write(entry, "revoked", &statement, error);
}

int pins_find(const struct pins *pins, const char *site, struct site_keys *keys, struct rounds_error *error)
{
	struct statement statement;

	if (entry_read(json_object_get(pins->sites, site), "pinned", &statement, keys))
		return 0;
	return error_set(error, ERROR_FORBIDDEN,
		"no key of %.63s is pinned here: run `rounds-site peers`, compare, and `rounds-site peers confirm %.63s`",
		site, site);
}

json_t *pins_sites(const struct pins *pins)
{
	json_t *names = json_array();
	const char *site;
	json_t *entry;

	json_object_foreach (pins->sites, site, entry)
		json_array_append_new(names, json_string(site));
	return names;
}
