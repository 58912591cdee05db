#include "server/http/wires.h"

#include "common/clock.h"
#include "common/condition.h"
#include "common/log.h"
#include "server/http/request.h"

#include <string.h>
#include <sys/socket.h>

static void set_deadline(struct wire *wire, int64_t seconds)
{
	atomic_store(&wire->deadline, seconds ? clock_steady_us() + seconds * SECOND_US : 0);
}

static struct in6_addr mapped(const struct sockaddr *address)
{
	struct in6_addr all = { 0 };

	if (address->sa_family == AF_INET6)
		return ((const struct sockaddr_in6 *)address)->sin6_addr;
	all.s6_addr[10] = all.s6_addr[11] = 0xff;
	memcpy(&all.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr, 4);
	return all;
}

/* A customer of IPv6 has at least a /64 to choose addresses from. */
static struct in6_addr origin_of(const struct sockaddr *address)
{
	struct in6_addr origin = mapped(address);

	if (!IN6_IS_ADDR_V4MAPPED(&origin))
		memset(&origin.s6_addr[8], 0, 8);
	return origin;
}

static struct wire_list *bucket_of(struct wires *wires, const struct in6_addr *origin)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof(origin->s6_addr); i++)
		hash = (hash ^ origin->s6_addr[i]) * 16777619u;
	return &wires->anonymous[hash % WIRE_BUCKETS];
}

static struct wire_list *list_of(struct wire *wire)
{
	return wire->known ? &wire->wires->known : bucket_of(wire->wires, &wire->origin);
}

static void cut_locked(struct wire *wire, const char *reason)
{
	if (wire->cut)
		return;
	wire->cut = true;
	wire->wires->count--;
	shutdown(wire->socket, SHUT_RDWR);
	log_debug("connection cut", "address", wire->peer.address, "reason", reason, NULL);
}

static bool same_origin(const struct wire *a, const struct wire *b)
{
	return !memcmp(&a->origin, &b->origin, sizeof(a->origin));
}

/* The newcomer is in its bucket already, as the last. */
static void bound_address_locked(struct wire *newcomer)
{
	struct wire *wire, *oldest = NULL;
	unsigned count = 0;

	TAILQ_FOREACH(wire, bucket_of(newcomer->wires, &newcomer->origin), entry)
	{
		if (wire->cut || !same_origin(wire, newcomer))
			continue;
		count++;
		if (!oldest)
			oldest = wire;
	}
	if (count > newcomer->wires->address_limit)
		cut_locked(oldest, "too many of this address have not said who they are");
}

static void bound_all_locked(struct wires *wires)
{
	struct wire *wire, *oldest = NULL;

	if (wires->count <= wires->limit)
		return;
	for (size_t i = 0; i < WIRE_BUCKETS; i++) {
		TAILQ_FOREACH(wire, &wires->anonymous[i], entry)
		if (!wire->cut)
			break;
		if (wire && (!oldest || wire->since < oldest->since))
			oldest = wire;
	}
	if (oldest)
		cut_locked(oldest, "all connections are taken");
}

static bool is_proxy(const struct wires *wires, const struct sockaddr *address)
{
	struct in6_addr all = mapped(address);

	for (size_t i = 0; i < wires->proxy_count; i++)
		if (!memcmp(&wires->proxies[i], &all, sizeof(all)))
			return true;
	return false;
}

struct wire *wire_new(struct wires *wires, struct MHD_Connection *connection, int socket,
	const struct sockaddr *address, gnutls_session_t session)
{
	struct wire *wire = calloc(1, sizeof(*wire));

	if (!wire) {
		shutdown(socket, SHUT_RDWR);
		return NULL;
	}
	wire->wires = wires;
	wire->connection = connection;
	wire->socket = socket;
	wire->origin = origin_of(address);
	wire->since = clock_steady_us();
	peer_address(address, &wire->peer);
	set_deadline(wire, REQUEST_SECONDS);
	if (is_proxy(wires, address) && proxy_expect(wire, session)) {
		shutdown(socket, SHUT_RDWR);
		free(wire);
		return NULL;
	}
	pthread_mutex_lock(&wires->lock);
	wires->count++;
	TAILQ_INSERT_TAIL(list_of(wire), wire, entry);
	bound_address_locked(wire);
	bound_all_locked(wires);
	pthread_mutex_unlock(&wires->lock);
	return wire;
}

void wire_free(struct wire *wire)
{
	struct wires *wires = wire->wires;

	pthread_mutex_lock(&wires->lock);
	TAILQ_REMOVE(list_of(wire), wire, entry);
	wires->count -= !wire->cut;
	pthread_mutex_unlock(&wires->lock);
	framing_clear(&wire->framing);
	free(wire->proxy);
	free(wire);
}

void wire_known(struct wire *wire, bool known)
{
	struct wires *wires = wire->wires;

	if (known == wire->known) /* only this thread changes it */
		return;
	pthread_mutex_lock(&wires->lock);
	TAILQ_REMOVE(list_of(wire), wire, entry);
	wire->known = known;
	TAILQ_INSERT_TAIL(list_of(wire), wire, entry);
	pthread_mutex_unlock(&wires->lock);
	set_deadline(wire, known ? 0 : REQUEST_SECONDS);
}

void wire_moved(struct wire *wire, const struct sockaddr *address)
{
	struct wires *wires = wire->wires;

	pthread_mutex_lock(&wires->lock);
	TAILQ_REMOVE(list_of(wire), wire, entry);
	wire->origin = origin_of(address);
	peer_address(address, &wire->peer);
	TAILQ_INSERT_TAIL(list_of(wire), wire, entry);
	bound_address_locked(wire);
	pthread_mutex_unlock(&wires->lock);
}

void wire_working(struct wire *wire)
{
	wire->resting = false;
	set_deadline(wire, wire->known ? 0 : ANSWER_SECONDS);
}

void wire_resting(struct wire *wire)
{
	wire->resting = wire->known;
	set_deadline(wire, wire->known ? REST_SECONDS : REQUEST_SECONDS);
}

void wire_read(struct wire *wire, ssize_t got)
{
	bool in_head = framing_in_head(&wire->framing);

	if (!wire->known || (!in_head && got <= 0))
		return;
	if (!in_head)
		set_deadline(wire, 0);
	else if (wire->resting || !atomic_load(&wire->deadline))
		set_deadline(wire, REQUEST_SECONDS);
	wire->resting = false;
}

static void cut_all_locked(struct wire_list *list)
{
	struct wire *wire;

	TAILQ_FOREACH(wire, list, entry)
	{
		cut_locked(wire, "the server stops");
	}
}

void wires_cut_anonymous(struct wires *wires)
{
	pthread_mutex_lock(&wires->lock);
	for (size_t i = 0; i < WIRE_BUCKETS; i++)
		cut_all_locked(&wires->anonymous[i]);
	pthread_mutex_unlock(&wires->lock);
}

static void reap_locked(struct wire_list *list, int64_t now)
{
	struct wire *wire;

	TAILQ_FOREACH(wire, list, entry)
	{
		int64_t deadline = atomic_load(&wire->deadline);

		if (deadline && deadline < now)
			cut_locked(wire, "it took too long");
	}
}

static void *reap(void *argument)
{
	struct wires *wires = argument;

	pthread_mutex_lock(&wires->lock);
	while (!wires->ends) {
		int64_t now = clock_steady_us();

		for (size_t i = 0; i < WIRE_BUCKETS; i++)
			reap_locked(&wires->anonymous[i], now);
		reap_locked(&wires->known, now);
		condition_wait(&wires->ending, &wires->lock, SECOND_US);
	}
	pthread_mutex_unlock(&wires->lock);
	return NULL;
}

void wires_init(struct wires *wires, unsigned limit, unsigned address_limit)
{
	wires->limit = limit;
	wires->address_limit = address_limit < limit / 2 ? address_limit : limit / 2;
	for (size_t i = 0; i < WIRE_BUCKETS; i++)
		TAILQ_INIT(&wires->anonymous[i]);
	TAILQ_INIT(&wires->known);
	pthread_mutex_init(&wires->lock, NULL);
	condition_init(&wires->ending);
}

void wires_destroy(struct wires *wires)
{
	pthread_cond_destroy(&wires->ending);
	pthread_mutex_destroy(&wires->lock);
}

int wires_start(struct wires *wires, struct rounds_error *error)
{
	if (pthread_create(&wires->reaper, NULL, reap, wires))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the thread that ends slow connections");
	wires->runs = true;
	return 0;
}

void wires_stop(struct wires *wires)
{
	pthread_mutex_lock(&wires->lock);
	wires->ends = true;
	pthread_cond_signal(&wires->ending);
	pthread_mutex_unlock(&wires->lock);
	if (wires->runs)
		pthread_join(wires->reaper, NULL);
	wires->runs = false;
}
