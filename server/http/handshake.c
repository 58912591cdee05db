/*
 * Handshakes that wait for the other end.
 *
 * libmicrohttpd 0.9.75 takes a connection for readable until a read of its own finds nothing, and a handshake's reads are
 * GnuTLS's. So it would ask one that has begun again and again, as fast as it can, until the next bytes come: three bytes of a
 * stranger kept an I/O thread busy, and so did every site behind a slow link, for a round trip. Here such a connection is
 * set aside as a request that waits is, and a thread resumes it when there is something to read. Its deadline (wires.h) shuts
 * the socket down, which is something to read, too.
 *
 * The library promises MHD_suspend_connection inside the callbacks of a request, and this is none. It is sound for 0.9.75 as http.c
 * starts it (epoll, a pool of threads); who takes another version reads these places again:
 * - A handshake is asked for by MHD_connection_handle_read and _write alone (call_handlers in MHD_epoll), so by the thread that
 *   has the connection and under no lock, which is what internal_suspend_connection_ asserts. It was not suspended, nor resumed and
 *   not yet back: of those none is handled.
 * - Both return at once where the handshake is not over. What comes after them looks for `suspended` first
 *   (MHD_connection_handle_idle, MHD_connection_update_event_loop_info) or for MHD_EPOLL_STATE_SUSPENDED (the loop over those
 *   that are ready, which has taken its next one before).
 * - It is then in no list but that of the suspended, and not in the thread's epoll set: nothing handles, times out or frees it, and
 *   its socket stays open. To resume it from here only marks it and wakes its thread, which puts it back itself, as readable and
 *   writable, with its next turn. So the wire is there for as long as it is watched: of a socket that has told once (EPOLLONESHOT)
 *   nothing more is heard.
 * - At its end the library aborts where one is suspended still: handshakes_stop comes before.
 */
#include "server/http/request.h"

#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 64, LOOK_MS = 200 };

bool handshakes_set_aside(struct wire *wire)
{
	struct handshakes *handshakes = &wire->wires->handshakes;
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = wire };

	/* Counted first: the thread ends only when it has seen the end and nobody aside. */
	atomic_fetch_add(&handshakes->aside, 1);
	if (!atomic_load(&handshakes->runs) || atomic_load(&handshakes->ends)) {
		atomic_fetch_sub(&handshakes->aside, 1);
		return false;
	}
	MHD_suspend_connection(wire->connection);
	if (!epoll_ctl(handshakes->ready, wire->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, wire->socket, &event)) {
		wire->watched = true;
		return true;
	}
	MHD_resume_connection(wire->connection);
	atomic_fetch_sub(&handshakes->aside, 1);
	return false;
}

static void *run(void *argument)
{
	struct handshakes *handshakes = argument;
	struct epoll_event events[EVENTS];

	while (!atomic_load(&handshakes->ends) || atomic_load(&handshakes->aside) > 0) {
		int got = epoll_wait(handshakes->ready, events, EVENTS, LOOK_MS);

		for (int i = 0; i < got; i++) {
			struct wire *wire = events[i].data.ptr; /* there until it is resumed */

			MHD_resume_connection(wire->connection);
			atomic_fetch_sub(&handshakes->aside, 1);
		}
	}
	return NULL;
}

int handshakes_start(struct handshakes *handshakes, struct rounds_error *error)
{
	handshakes->ready = epoll_create1(EPOLL_CLOEXEC);
	if (handshakes->ready < 0)
		return error_errno(error, "cannot watch connections");
	if (pthread_create(&handshakes->thread, NULL, run, handshakes)) {
		close(handshakes->ready);
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the thread that watches handshakes");
	}
	atomic_store(&handshakes->runs, true);
	return 0;
}

void handshakes_stop(struct wires *wires)
{
	struct handshakes *handshakes = &wires->handshakes;

	if (!atomic_load(&handshakes->runs))
		return;
	atomic_store(&handshakes->ends, true);
	wires_cut_anonymous(wires);
	pthread_join(handshakes->thread, NULL);
	close(handshakes->ready);
	atomic_store(&handshakes->runs, false);
}
