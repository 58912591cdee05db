/* The schema, as numbered steps. A released step never changes; a change is a new step at the end. */
#ifndef ROUNDS_SERVER_STORE_MIGRATIONS_H
#define ROUNDS_SERVER_STORE_MIGRATIONS_H

#include "server/store/store.h"

/* Brings the database to the newest version in one transaction; refuses one that is newer than this program. */
must_check int migrations_apply(struct store_tx *tx, struct rounds_error *error);

#endif
