/* How many requests each route has answered, and how long they took. */
#include "server/http/request.h"

#include "common/clock.h"

const double http_bucket_seconds[HTTP_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10, 60 };

size_t http_route_count(const struct http *http)
{
	size_t count = 0;

	while (http->options.routes[count].method)
		count++;
	return count;
}

void stats_add(struct http *http, const struct request *request)
{
	size_t route = request->route ? (size_t)(request->route - http->options.routes) : http_route_count(http);
	double seconds = (double)(clock_steady_us() - request->started) / (double)SECOND_US;
	int class = request->status / 100;
	struct route_stats *stats = &http->stats[route];
	size_t bucket = 0;

	while (bucket < HTTP_BUCKETS && seconds > http_bucket_seconds[bucket])
		bucket++;
	pthread_mutex_lock(&http->lock);
	stats->answers[class >= 1 && class <= 5 ? class : 0]++;
	stats->buckets[bucket]++;
	stats->seconds += seconds;
	pthread_mutex_unlock(&http->lock);
}

struct route_stats http_stats(struct http *http, size_t route)
{
	struct route_stats stats;

	pthread_mutex_lock(&http->lock);
	stats = http->stats[route];
	pthread_mutex_unlock(&http->lock);
	return stats;
}
