#include "client/site/keys.h"

#include "client/site/settings.h"
#include "common/file.h"
#include "common/hex.h"
#include "common/json.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_LIMIT = 64 * 1024, FILE_ROOM = KEYS_STATEMENTS * (STATEMENT_TEXT_SIZE + 12) + 400 };

#define HEADER "rounds-site keys 1"

void own_keys_wipe(struct own_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}

static int damaged(const char *path, struct rounds_error *error)
{
	return error_set(error, ERROR_INVALID,
		"%.300s is damaged: put it back from a backup, or remove it and let the site join anew with an invitation "
		"that replaces it",
		path);
}

static bool parse_secret(const char *line, const char *name, struct secret_key *secret)
{
	size_t length = strlen(name);

	return line && !strncmp(line, name, length) && line[length] == ' ' &&
	       hex_parse(line + length + 1, secret->bytes, KEY_SIZE);
}

static int parse_statements(char **rest, struct own_keys *keys, struct rounds_error *error)
{
	static const char word[] = "statement ";
	char *line;

	for (keys->count = 0; (line = strtok_r(NULL, "\n", rest)); keys->count++) {
		struct statement *statement = &keys->statements[keys->count];

		if (keys->count == KEYS_STATEMENTS || strncmp(line, word, strlen(word)) != 0)
			return error_set(error, ERROR_INVALID, "there is a line that does not belong there");
		if (statement_parse(line + strlen(word), statement, error) ||
			(keys->count && statement_follows(statement - 1, statement, error)))
			return -1;
	}
	return keys->count ? 0 : error_set(error, ERROR_INVALID, "there is no statement");
}

/* The last statement is of these secrets and of this site. */
static int check_own(const char *site, const struct own_keys *keys, struct rounds_error *error)
{
	struct site_keys said;
	struct public_key identity, sealing;

	if (statement_read(&keys->statements[keys->count - 1], &said, error) ||
		signing_public(&keys->secrets.identity, &identity, error) ||
		sealing_public(&keys->secrets.sealing, &sealing, error))
		return -1;
	if (memcmp(identity.bytes, said.identity.bytes, KEY_SIZE) != 0 ||
		memcmp(sealing.bytes, said.sealing.bytes, KEY_SIZE) != 0)
		return error_set(error, ERROR_INVALID, "the secrets are not those of the last statement");
	if (strcmp(said.site, site) != 0)
		return error_set(error, ERROR_CONFLICT,
			"the keys in the state directory are those of the site %s, and this is %s: a state directory is for "
			"one site; move its file site.keys away",
			said.site, site);
	return 0;
}

static int keys_read(const char *path, const char *site, struct own_keys *keys, struct rounds_error *error)
{
	char *text = NULL, *rest = NULL, *line;
	size_t size = 0;
	struct rounds_error why = { 0 };
	int failed;

	if (file_read(path, FILE_LIMIT, &text, &size, error))
		return -1;
	line = strtok_r(text, "\n", &rest);
	failed = !line || strcmp(line, HEADER) != 0 ||
		 !parse_secret(strtok_r(NULL, "\n", &rest), "identity", &keys->secrets.identity) ||
		 !parse_secret(strtok_r(NULL, "\n", &rest), "sealing", &keys->secrets.sealing) ||
		 parse_statements(&rest, keys, &why) || check_own(site, keys, &why);
	OPENSSL_cleanse(text, size);
	free(text);
	if (failed && why.kind == ERROR_CONFLICT) {
		*error = why;
		return -1;
	}
	return failed ? damaged(path, error) : 0;
}

static int keys_write(const char *path, const struct own_keys *keys, struct rounds_error *error)
{
	char identity[2 * KEY_SIZE + 1], sealing[2 * KEY_SIZE + 1], statement[STATEMENT_TEXT_SIZE];
	char *text = malloc(FILE_ROOM);
	size_t used;
	int failed;

	if (!text)
		return error_no_memory(error);
	hex_format(keys->secrets.identity.bytes, KEY_SIZE, identity);
	hex_format(keys->secrets.sealing.bytes, KEY_SIZE, sealing);
	used = (size_t)snprintf(text, FILE_ROOM, HEADER "\nidentity %s\nsealing %s\n", identity, sealing);
	for (size_t i = 0; i < keys->count; i++) {
		statement_format(&keys->statements[i], statement);
		used += (size_t)snprintf(text + used, FILE_ROOM - used, "statement %s\n", statement);
	}
	failed = file_replace(path, text, used, 0600, error);
	OPENSSL_cleanse(text, FILE_ROOM);
	OPENSSL_cleanse(identity, sizeof(identity));
	OPENSSL_cleanse(sealing, sizeof(sealing));
	free(text);
	return failed;
}

static void new_secrets(struct site_secrets *secrets)
{
	secret_new(world_real(), &secrets->identity);
	secret_new(world_real(), &secrets->sealing);
}

int keys_open(const json_t *settings, const char *site, struct own_keys *keys, struct rounds_error *error)
{
	scoped(text_free) char *path = state_path(settings, "site.keys");

	if (!path)
		return error_no_memory(error);
	if (access(path, F_OK) == 0)
		return keys_read(path, site, keys, error);
	*keys = (struct own_keys){ .count = 1 };
	new_secrets(&keys->secrets);
	return statement_make(world_real(), site, &keys->secrets, NULL, NULL, keys->statements, error) ||
			       keys_write(path, keys, error)
		       ? -1
		       : 0;
}

int keys_renew(const json_t *settings, const char *site, struct own_keys *keys, struct rounds_error *error)
{
	scoped(text_free) char *path = state_path(settings, "site.keys");
	scoped(own_keys) struct own_keys next = *keys;

	if (!path)
		return error_no_memory(error);
	if (next.count == KEYS_STATEMENTS)
		memmove(next.statements, next.statements + 1, --next.count * sizeof(*next.statements));
	new_secrets(&next.secrets);
	if (statement_make(world_real(), site, &next.secrets, &keys->statements[keys->count - 1],
		    &keys->secrets.identity, &next.statements[next.count], error))
		return -1;
	next.count++;
	if (keys_write(path, &next, error))
		return -1;
	*keys = next;
	return 0;
}

json_t *keys_told(const struct own_keys *keys)
{
	json_t *told = json_array();
	char text[STATEMENT_TEXT_SIZE];

	for (size_t i = 0; i < keys->count; i++) {
		statement_format(&keys->statements[i], text);
		json_array_append_new(told, json_string(text));
	}
	return told;
}
