/* What an operator should know of the server itself, for the overview and for Prometheus. */
#include "server/routes/health.h"

#include "common/clock.h"
#include "common/json.h"
#include "server/routes/app.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"

#include <string.h>

/* Below the first, uploads of most models fail; below the second there is time to do something. */
#define SPACE_FULL (UINT64_C(64) << 20)
#define SPACE_LOW  (UINT64_C(10000000000)) /* as the alert RoundsLittleSpace has it */
#define SOON_US    (25 * 24 * 3600 * SECOND_US)

static int count(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct health *health = argument;

	return job_count_health(tx, &health->held_jobs, &health->unverified_jobs, &health->broken_jobs, error) ||
			       site_count_health(tx, &health->removed_sites, &health->site_certificate_ends, error)
		       ? -1
		       : 0;
}

int health_look(struct app *app, struct health *health, struct rounds_error *error)
{
	*health = (struct health){ 0 };
	health->free_bytes = blobs_space(app->blobs);
	health->certificate_ends = http_certificate_ends();
	return store_read(app->store, count, health, error);
}

static const char *nearness(int64_t ends)
{
	int64_t left = ends - clock_wall_us();

	return left < 0 ? "ended" : left < SOON_US ? "ends_soon" : "good";
}

enum outcome health_show(struct request *request, void *context)
{
	struct health health;
	struct rounds_error error = { 0 };
	char ends[TIME_TEXT_SIZE];

	if (health_look(context, &health, &error))
		return reply_error(request, &error);
	time_format(health.certificate_ends, ends);
	return reply_json(request, 200,
		json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "free_bytes", (json_int_t)health.free_bytes,
			"space",
			health.free_bytes < SPACE_FULL  ? "full"
			: health.free_bytes < SPACE_LOW ? "low"
							: "good",
			"certificate", nearness(health.certificate_ends), "certificate_expires", ends, "held",
			(json_int_t)health.held_jobs, "unverified", (json_int_t)health.unverified_jobs, "broken",
			(json_int_t)health.broken_jobs, "copy", ((struct app *)context)->is_copy));
}
