/* The directory of sites' keys, for sites. */
#include "server/routes/app.h"

#include "common/json.h"
#include "server/engine/site_keys.h"

static int read_peers(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return site_keys_of_all(tx, argument, error);
}

enum outcome peer_list(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_t *sites = NULL;

	if (store_read(app->store, read_peers, &sites, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", sites));
}
