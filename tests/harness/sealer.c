/*
 * Seals and opens envelopes for another implementation to open and seal (tests/integration/test_seal.py). The letter is the first
 * from "north" to "south" in job "job", round 7, term 2, of the kind "update".
 *
 *     sealer seal IDENTITY_SECRET SEALING_PUBLIC CONTENT_KEY PLAIN SEALED    prints the letter
 *     sealer open IDENTITY_PUBLIC SEALING_SECRET LETTER SEALED PLAIN
 *
 * Keys and letters in hexadecimal digits: of tests, they are no secrets.
 */
#include "common/file.h"
#include "common/hex.h"
#include "common/seal/letter.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int say(const struct rounds_error *error)
{
	fprintf(stderr, "sealer: %s%s%s\n", error->field, error->field[0] ? " " : "", error->message);
	return 1;
}

static int seal(char **words)
{
	struct letter letter = {
		.job = "job", .round = 7, .term = 2, .kind = "update", .sender = "north", .recipient = "south"
	};
	struct secret_key identity, content_key;
	struct thread thread = { 0 };
	struct letter_bytes bytes;
	struct rounds_error error = { 0 };
	scoped(file_close) int from = open(words[3], O_RDONLY);
	scoped(file_close) int to = open(words[4], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char text[2 * RECORD_LIMIT + 1];

	if (!hex_parse(words[0], identity.bytes, KEY_SIZE) || !hex_parse(words[1], letter.sealing.bytes, KEY_SIZE) ||
		!hex_parse(words[2], content_key.bytes, KEY_SIZE))
		return 2;
	if (content_seal(&content_key, from, to, &letter.content, &error) ||
		letter_seal(world_real(), &letter, &identity, &content_key, &thread, &bytes, &error))
		return say(&error);
	hex_format(bytes.bytes, bytes.size, text);
	puts(text);
	return 0;
}

static int open_one(char **words)
{
	struct public_key identity;
	struct secret_key sealing, content_key;
	struct letter_expected expected = { .job = "job",
		.round = 7,
		.term = 2,
		.kind = "update",
		.sender = "north",
		.recipient = "south",
		.identity = &identity,
		.sealing = &sealing };
	struct thread thread = { 0 };
	struct letter_bytes bytes = { .size = strlen(words[2]) / 2 };
	struct letter letter;
	struct rounds_error error = { 0 };
	scoped(file_close) int from = open(words[3], O_RDONLY);
	scoped(file_close) int to = open(words[4], O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (!hex_parse(words[0], identity.bytes, KEY_SIZE) || !hex_parse(words[1], sealing.bytes, KEY_SIZE) ||
		bytes.size > RECORD_LIMIT || !hex_parse(words[2], bytes.bytes, bytes.size))
		return 2;
	if (letter_open(&bytes, &expected, &thread, &letter, &content_key, &error) ||
		content_open(&content_key, &letter.content, from, to, &error))
		return say(&error);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "seal"))
		return seal(argv + 2);
	if (argc == 7 && !strcmp(argv[1], "open"))
		return open_one(argv + 2);
	return 2;
}
