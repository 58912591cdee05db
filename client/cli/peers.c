/* A consortium's list of its sites' keys, made where its key is kept: no server takes part. */
#include "client/cli/cli.h"

#include "common/file.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/seal/peer_list.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEY_TEXT = 2 * KEY_SIZE + 1 };

const struct field peers_sign_flags[] = {
	{ "key", FIELD_TEXT, "The consortium's key, a file that `rounds peers key` made", .min = 1, .max = 4096 },
	{ NULL },
};

int peers_key(struct cli *cli, struct rounds_error *error)
{
	const char *path = cli_word(cli, 0);
	scoped(secret_key) struct secret_key secret;
	struct public_key public_key;
	char text[KEY_TEXT + 1];
	int failed;

	if (access(path, F_OK) == 0)
		return error_set(error, ERROR_CONFLICT, "%.300s is there already, and is not overwritten", path);
	secret_new(world_real(), &secret);
	if (signing_public(&secret, &public_key, error))
		return -1;
	hex_format(secret.bytes, KEY_SIZE, text);
	strcat(text, "\n");
	failed = file_replace(path, text, strlen(text), 0600, error);
	OPENSSL_cleanse(text, sizeof(text));
	if (failed)
		return -1;
	hex_format(public_key.bytes, KEY_SIZE, text);
	fprintf(stderr, "Keep %s where no network reaches it. Each site's site.json gets, as `peers_key`:\n", path);
	puts(text);
	return EXIT_DONE;
}

static int read_key(const char *path, struct secret_key *secret, struct rounds_error *error)
{
	char *text = NULL;
	size_t size = 0;
	bool read;

	if (!path)
		return error_set(
			error, ERROR_INVALID, "name the consortium's key: --key FILE (rounds peers key FILE)");
	if (file_read(path, 1000, &text, &size, error))
		return -1;
	text[strcspn(text, "\r\n")] = '\0';
	read = hex_parse(text, secret->bytes, KEY_SIZE);
	OPENSSL_cleanse(text, size);
	free(text);
	return read ? 0 : error_set(error, ERROR_INVALID, "%.300s is no key that `rounds peers key` made", path);
}

int peers_sign(struct cli *cli, struct rounds_error *error)
{
	scoped(secret_key) struct secret_key secret;
	json_auto_t *list = NULL;

	if (read_key(json_text_or(cli->options, "key", NULL), &secret, error) ||
		json_parse_file(cli_word(cli, 0), &list, error) || peer_list_sign(list, &secret, error))
		return -1;
	print_json(list);
	return EXIT_DONE;
}
