/*
 * An order is what the server hands to a site: one task. The server is trusted to be up, not to be honest, so nothing of an
 * order is used before it is checked here: ids and names become parts of paths, digests name files, numbers become times and
 * sizes.
 */
#ifndef ROUNDS_CLIENT_SITE_ORDER_H
#define ROUNDS_CLIENT_SITE_ORDER_H

#include "common/error.h"

#include <jansson.h>

#define ORDER_TIME_LIMIT INT64_C(315360000) /* of a lease or a time limit, in seconds: ten years */

/*
 * ERROR_INVALID, naming the member, for an order that this site does not touch. From then on it has "files" (common/artifact.h),
 * also where an older server said it otherwise; small ones with their bytes, `data`, in base64.
 */
must_check int order_check(json_t *order, struct rounds_error *error);

#endif
