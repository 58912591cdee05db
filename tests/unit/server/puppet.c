/* Sites: what they do, and what they make. */
#include "tests/unit/server/federation.h"

#include "common/tensors.h"

#include <openssl/evp.h>

struct puppet *puppet_named(struct federation *f, const char *name)
{
	for (size_t i = 0; i < SITES; i++)
		if (!strcmp(f->sites[i].name, name))
			return &f->sites[i];
	return NULL;
}

void puppet_forgets(struct federation *f, struct puppet *site)
{
	json_decref(site->task);
	site->task = NULL;
	uuid_new(&f->world.world, site->instance);
}

/* Weights of one tensor, as a file's bytes: 8 of length, a header, four numbers. */
static size_t make_weights(float first, uint8_t bytes[256])
{
	static const uint64_t shape[] = { 4 };
	const struct tensor_plan plan = { "w", DTYPE_F32, 1, shape };
	float values[4] = { first, 1, 2, 3 };
	struct rounds_error error;
	uint8_t *header;
	size_t size;

	assert_int_equal(tensors_header(&plan, 1, NULL, &header, &size, &error), 0);
	memcpy(bytes, header, size);
	memcpy(bytes + size, values, sizeof(values));
	free(header);
	return size + sizeof(values);
}

json_t *puppet_result(struct federation *f, const char *kind)
{
	uint8_t bytes[256];
	size_t size = make_weights((float)++f->made, bytes); /* no two updates are the same */
	char base64[400], text[DIGEST_TEXT_SIZE];
	struct digest digest;
	json_t *body = json_pack("{s:i, s:{s:f}}", "weight", (int)throw_dice(f, 500) + 1, "metrics", "accuracy",
		(double)throw_dice(f, 1000) / 1000);

	if (!strcmp(kind, "evaluate"))
		return body;
	digest_of(bytes, size, &digest);
	digest_format(&digest, text);
	EVP_EncodeBlock((unsigned char *)base64, bytes, (int)size);
	json_object_set_new(body, "update", json_string(text));
	json_object_set_new(body, "update_data", json_string(base64));
	return body;
}

static void puppet_begins(struct federation *f, struct puppet *site, json_t *task)
{
	static const enum fate fates[] = { FAILS, FAILS, FAILS_FOR_GOOD, DELIVERS_RUBBISH, GIVES_BACK, FALLS_SILENT,
		FALLS_SILENT, FORGETS };
	uint64_t fate = throw_dice(f, 40);

	site->doing = WORKING;
	site->task = task;
	site->fate = fate < sizeof(fates) / sizeof(fates[0]) ? fates[fate] : DELIVERS;
	site->ends = f->now + between(f, 20 * SECOND_US, 20 * MINUTE_US);
	site->next = f->now + json_integer_or(task, "lease_seconds", 60) * SECOND_US / 3;
	if (site->next > site->ends)
		site->next = site->ends;
}

static void puppet_looks(struct federation *f, struct puppet *site)
{
	struct rounds_error error = { 0 };
	json_t *task = NULL;

	site->woken = false;
	if (engine_claim(f->engine, &site->claim, &task, &error)) {
		assert_int_equal(
			error.kind, ERROR_CONFLICT); /* its forerunner lives, as far as the server can know */
		site->next = f->now + MINUTE_US;
		site->doing = AWAY;
	} else if (task) {
		puppet_begins(f, site, task);
	} else if (!engine_claim_may_wait(f->engine, &site->claim)) {
		site->next = f->now + SECOND_US;
		site->doing = AWAY;
	}
}

static void puppet_claims(struct federation *f, struct puppet *site)
{
	struct rounds_error error = { 0 };

	json_decref(site->facts);
	site->facts = json_pack("{s:i, s:s, s:i, s:[s], s:[s], s:[], s:s, s:{}}", "protocol", 2, "version", "0.1.0",
		"slots", 2, "datasets", "d", "executors", "trainer", "holding", "instance", site->instance, "tables");
	site->claim = (struct claim){ .site = site->name, .facts = site->facts, .wait_us = CLAIM_US };
	site->doing = POLLING;
	site->next = f->now + CLAIM_US;
	if (engine_claim_begin(f->engine, &site->claim, &error))
		fail_msg("%s: %s", site->name, error.message);
	puppet_looks(f, site);
}

/* The task is over, however it went. */
static void puppet_is_free(struct federation *f, struct puppet *site)
{
	json_decref(site->task);
	site->task = NULL;
	site->doing = AWAY;
	site->next = f->now + SECOND_US;
}

/* Said twice, it is in once, and both get one answer. */
static void puppet_delivers(struct federation *f, struct puppet *site)
{
	const char *id = json_text_or(site->task, "id", "");
	json_auto_t *body = puppet_result(f, json_text_or(site->task, "kind", "")), *answer = NULL, *again = NULL;
	struct rounds_error error = { 0 };

	if (engine_result(f->engine, site->name, id, body, &answer, &error)) {
		assert_true(error.kind == ERROR_CONFLICT || error.kind == ERROR_NOT_FOUND);
		f->late++;
		puppet_is_free(f, site);
		return;
	}
	assert_null(json_object_get(f->accepted, id));
	json_object_set_new(f->accepted, id, json_string(json_text_or(body, "update", "")));
	if (throw_dice(f, 8) == 0) {
		assert_int_equal(engine_result(f->engine, site->name, id, body, &again, &error), 0);
		assert_true(json_equal(answer, again));
		f->repeated++;
	}
	puppet_is_free(f, site);
}

static void puppet_fails(struct federation *f, struct puppet *site)
{
	const char *id = json_text_or(site->task, "id", "");
	json_auto_t *body = json_pack("{s:s, s:b}", "reason", "the dice", "retry", site->fate == FAILS);
	json_auto_t *rubbish = json_pack("{s:i}", "weight", -1), *answer = NULL;
	struct rounds_error error = { 0 };
	int failed = site->fate == GIVES_BACK ? engine_release(f->engine, site->name, id, &error)
		     : site->fate == DELIVERS_RUBBISH
			     ? engine_result(f->engine, site->name, id, rubbish, &answer, &error)
			     : engine_failure(f->engine, site->name, id, body, &error);

	f->refused += site->fate == DELIVERS_RUBBISH;
	assert_true(!failed || error.kind == ERROR_CONFLICT || error.kind == ERROR_NOT_FOUND ||
		    (site->fate == DELIVERS_RUBBISH && error.kind == ERROR_INVALID));
	puppet_is_free(f, site);
}

static void puppet_beats(struct federation *f, struct puppet *site)
{
	json_auto_t *body = json_pack("{s:s}", "stage", "train"), *answer = NULL;
	struct rounds_error error = { 0 };

	if (engine_heartbeat(f->engine, site->name, json_text_or(site->task, "id", ""), body, &answer, &error)) {
		assert_true(error.kind == ERROR_CONFLICT || error.kind == ERROR_NOT_FOUND);
		puppet_is_free(f, site); /* it was called off */
		return;
	}
	site->next = f->now + json_integer_or(answer, "lease_seconds", 60) * SECOND_US / 3;
	if (site->next > site->ends)
		site->next = site->ends;
}

static void puppet_works(struct federation *f, struct puppet *site)
{
	if (f->now < site->ends) {
		puppet_beats(f, site);
		return;
	}
	switch (site->fate) {
	case DELIVERS:
		puppet_delivers(f, site);
		break;
	case FALLS_SILENT: /* and delivers when it is back, be it too late */
		site->fate = DELIVERS;
		site->next = site->ends = f->now + between(f, MINUTE_US, 2 * HOUR_US);
		break;
	case FORGETS:
		puppet_forgets(f, site);
		site->doing = AWAY;
		site->next = f->now + between(f, SECOND_US, HOUR_US);
		break;
	default:
		puppet_fails(f, site);
	}
}

void puppet_acts(struct federation *f, struct puppet *site)
{
	if (site->doing == WORKING)
		puppet_works(f, site);
	else if (site->doing == POLLING && f->now < site->next)
		puppet_looks(f, site);
	else
		puppet_claims(f, site);
	site->woken = false;
}
