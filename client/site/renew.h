/* A site's certificate renews itself before it ends, over the connection that it still opens. */
#ifndef ROUNDS_CLIENT_SITE_RENEW_H
#define ROUNDS_CLIENT_SITE_RENEW_H

#include "client/site/site.h"

/* Renews the certificate if it nears its end; looks once an hour. *next_us (steady time) is kept between calls. */
void renew_in_time(struct site *site, struct connection *connection, int64_t *next_us);

#endif
