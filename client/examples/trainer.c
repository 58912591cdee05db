/*
 * A trainer in C with jansson alone: an executor reads tasks as lines of JSON and answers with lines of JSON
 * (client/README.md). This one adds 1 to every number of a model of float32: where real training would stand.
 *
 *     cc -o trainer trainer.c -ljansson
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text(const json_t *task, const char *name)
{
	const char *value = json_string_value(json_object_get(task, name));

	return value ? value : "";
}

static int fail(const char *why)
{
	printf("{\"type\":\"error\",\"message\":\"%s\",\"retry\":false}\n", why);
	return -1;
}

/* A safetensors file: eight bytes with the header's length, the header, then the numbers. */
static int train(const char *from, const char *to)
{
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
	unsigned char length[8];
	uint64_t size = 0;
	char *header;
	float value;

	if (!in || !out || fread(length, 1, 8, in) != 8)
		return fail("cannot read the model or write the update");
	for (int i = 7; i >= 0; i--)
		size = size << 8 | length[i];
	header = size < 100000000 ? malloc(size) : NULL;
	if (!header || fread(header, 1, size, in) != size)
		return fail("the model is no safetensors file");
	fwrite(length, 1, 8, out);
	fwrite(header, 1, size, out);
	free(header);
	while (fread(&value, sizeof(value), 1, in) == 1) {
		value += 1;
		fwrite(&value, sizeof(value), 1, out);
	}
	fclose(in);
	return fclose(out) ? fail("cannot write the update") : 0;
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (getline(&line, &room, stdin) > 0) {
		json_t *task = json_loads(line, 0, NULL);
		const char *kind = text(task, "kind");
		int failed = 0;

		if (!strcmp(kind, "train"))
			failed = train(text(task, "model"), text(task, "output"));
		else if (strcmp(kind, "evaluate"))
			failed = fail("give the job an initial_model");
		if (!failed)
			puts("{\"type\":\"result\",\"weight\":1,\"metrics\":{}}");
		json_decref(task);
	}
	free(line);
	return 0;
}
