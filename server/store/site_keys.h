/* What sites say of their keys, as they said it: statements in hexadecimal digits (common/seal/site_keys.h), checked by the engine. */
#ifndef ROUNDS_SERVER_STORE_SITE_KEYS_H
#define ROUNDS_SERVER_STORE_SITE_KEYS_H

#include "server/store/store.h"

/* {"generation", "statement"} of a site, oldest first: a new reference. */
must_check int site_keys_list(struct store_tx *tx, const char *site, json_t **statements, struct rounds_error *error);
/* {"site", "statement"} of every site that was not removed, by name and generation, the newest `most` of each. */
must_check int site_keys_list_all(struct store_tx *tx, int64_t most, json_t **statements, struct rounds_error *error);
must_check int site_keys_add(
	struct store_tx *tx, const char *site, int64_t generation, const char *statement, struct rounds_error *error);
/* Whoever joins begins anew. */
must_check int site_keys_forget(struct store_tx *tx, const char *site, struct rounds_error *error);

#endif
