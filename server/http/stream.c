/* Answers without an end: they sleep, suspended, while their source has nothing to say. */
#include "server/http/request.h"

struct stream {
	struct http *http;
	struct MHD_Connection *connection;
	struct stream_source source;
	struct stream *next, *previous;
	bool asleep, stirred; /* stirred: woken since its source was last asked */
};

static bool is_draining(struct http *http)
{
	bool draining;

	pthread_mutex_lock(&http->lock);
	draining = http->draining;
	pthread_mutex_unlock(&http->lock);
	return draining;
}

/* False if something may have come since the source was asked. */
static bool fall_asleep(struct stream *stream)
{
	struct http *http = stream->http;
	bool asleep;

	pthread_mutex_lock(&http->stream_lock);
	asleep = stream->asleep = !stream->stirred;
	if (asleep)
		MHD_suspend_connection(stream->connection);
	pthread_mutex_unlock(&http->stream_lock);
	return asleep;
}

static ssize_t read_some(void *context, uint64_t position, char *buffer, size_t room)
{
	struct stream *stream = context;
	ssize_t got;

	(void)position;
	do {
		pthread_mutex_lock(&stream->http->stream_lock);
		stream->asleep = stream->stirred = false;
		pthread_mutex_unlock(&stream->http->stream_lock);
		if (is_draining(stream->http))
			return MHD_CONTENT_READER_END_OF_STREAM;
		got = stream->source.read(stream->source.context, buffer, room);
		if (got < 0)
			return MHD_CONTENT_READER_END_OF_STREAM;
	} while (got == 0 && !fall_asleep(stream));
	return got;
}

static void close_stream(void *context)
{
	struct stream *stream = context;

	pthread_mutex_lock(&stream->http->stream_lock);
	if (stream->previous)
		stream->previous->next = stream->next;
	else
		stream->http->streams = stream->next;
	if (stream->next)
		stream->next->previous = stream->previous;
	pthread_mutex_unlock(&stream->http->stream_lock);
	stream->source.close(stream->source.context);
	free(stream);
}

enum outcome reply_stream(struct request *request, const char *type, const struct stream_source *source)
{
	enum { BLOCK = 16 * 1024 };
	struct stream *stream = calloc(1, sizeof(*stream));
	struct http *http = request->http;
	struct MHD_Response *response;

	if (!stream) {
		source->close(source->context);
		return reply_finish(request, 503, NULL);
	}
	*stream = (struct stream){ .http = http, .connection = request->connection, .source = *source };
	pthread_mutex_lock(&http->stream_lock);
	stream->next = http->streams;
	if (stream->next)
		stream->next->previous = stream;
	http->streams = stream;
	pthread_mutex_unlock(&http->stream_lock);
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_some, stream, close_stream);
	if (!response)
		close_stream(stream);
	reply_header(request, "Content-Type", "%s", type);
	reply_header(request, "Cache-Control", "no-store");
	return reply_finish(request, 200, response);
}

void http_wake_streams(void *context)
{
	struct http *http = context;

	pthread_mutex_lock(&http->stream_lock);
	for (struct stream *stream = http->streams; stream; stream = stream->next) {
		stream->stirred = true;
		if (stream->asleep)
			MHD_resume_connection(stream->connection);
		stream->asleep = false;
	}
	pthread_mutex_unlock(&http->stream_lock);
}
