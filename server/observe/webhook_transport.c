#include "server/observe/webhook_transport.h"

#include "common/text.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

enum {
	CONNECT_SECONDS = 10,
	ANSWER_SECONDS = 20,
	ANSWER_BYTES = 64 * 1024,
};

/* A message on its way. */
struct transfer {
	LIST_ENTRY(transfer) others;
	void *receiver;
	CURL *easy;
	struct curl_slist *headers;
	size_t answered; /* bytes of its answer */
	char reason[CURL_ERROR_SIZE];
};

struct curl_transport {
	struct webhook_transport functions;
	CURLM *multi;
	char *ca_file;
	LIST_HEAD(, transfer) transfers;
};

static struct curl_transport *own(struct webhook_transport *transport)
{
	return (struct curl_transport *)transport;
}

static void transfer_free(struct curl_transport *transport, struct transfer *transfer)
{
	LIST_REMOVE(transfer, others);
	if (transfer->easy) {
		curl_multi_remove_handle(transport->multi, transfer->easy);
		curl_easy_cleanup(transfer->easy);
	}
	curl_slist_free_all(transfer->headers);
	free(transfer);
}

/* What a receiver answers is not looked at, and not kept; one that has no end is left when its status is known. */
static size_t ignore(char *bytes, size_t one, size_t count, void *context)
{
	struct transfer *transfer = context;

	(void)bytes;
	transfer->answered += one * count;
	return transfer->answered > ANSWER_BYTES ? 0 : one * count;
}

static void set_options(const struct curl_transport *transport, struct transfer *transfer, const char *url)
{
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)ANSWER_SECONDS);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "rounds-server/" ROUNDS_VERSION);
	if (transport->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, transport->ca_file);
}

static bool copy_headers(struct transfer *transfer, const char *const *headers)
{
	for (; *headers; headers++) {
		struct curl_slist *more = curl_slist_append(transfer->headers, *headers);

		if (!more)
			return false;
		transfer->headers = more;
	}
	return true;
}

static int curl_send(struct webhook_transport *functions, void *receiver, const struct webhook_message *message,
	struct rounds_error *error)
{
	struct curl_transport *transport = own(functions);
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return error_no_memory(error);
	LIST_INSERT_HEAD(&transport->transfers, transfer, others);
	transfer->receiver = receiver;
	transfer->easy = curl_easy_init();
	if (transfer->easy && copy_headers(transfer, message->headers) &&
		curl_easy_setopt(transfer->easy, CURLOPT_COPYPOSTFIELDS, message->body) == CURLE_OK) {
		set_options(transport, transfer, message->url);
		if (curl_multi_add_handle(transport->multi, transfer->easy) == CURLM_OK)
			return 0;
	}
	transfer_free(transport, transfer);
	return error_no_memory(error);
}

static void curl_cancel(struct webhook_transport *functions, void *receiver)
{
	struct curl_transport *transport = own(functions);
	struct transfer *transfer = LIST_FIRST(&transport->transfers);

	while (transfer && transfer->receiver != receiver)
		transfer = LIST_NEXT(transfer, others);
	if (transfer)
		transfer_free(transport, transfer);
}

static bool curl_answer(struct webhook_transport *functions, struct webhook_answer *answer)
{
	struct curl_transport *transport = own(functions);
	struct transfer *transfer = NULL;
	curl_off_t retry_after = 0;
	CURLMsg *message;
	int left;

	do
		message = curl_multi_info_read(transport->multi, &left);
	while (message && message->msg != CURLMSG_DONE);
	if (!message)
		return false;
	curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
	*answer = (struct webhook_answer){ .receiver = transfer->receiver };
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	answer->retry_after = retry_after;
	if (message->data.result != CURLE_OK && transfer->answered <= ANSWER_BYTES)
		snprintf(answer->fault, sizeof(answer->fault), "%s",
			transfer->reason[0] ? transfer->reason : curl_easy_strerror(message->data.result));
	transfer_free(transport, transfer);
	return true;
}

static void curl_wait(struct webhook_transport *functions, int ms)
{
	int running;

	curl_multi_poll(own(functions)->multi, NULL, 0, ms, NULL);
	curl_multi_perform(own(functions)->multi, &running);
}

static void curl_wake(struct webhook_transport *functions)
{
	curl_multi_wakeup(own(functions)->multi);
}

static void curl_free_all(struct webhook_transport *functions)
{
	struct curl_transport *transport = own(functions);

	while (!LIST_EMPTY(&transport->transfers))
		transfer_free(transport, LIST_FIRST(&transport->transfers));
	if (transport->multi)
		curl_multi_cleanup(transport->multi);
	free(transport->ca_file);
	free(transport);
}

void webhook_transport_global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int webhook_transport_new(const char *ca_file, struct webhook_transport **out, struct rounds_error *error)
{
	struct curl_transport *transport = calloc(1, sizeof(*transport));

	if (!transport)
		return error_no_memory(error);
	transport->functions = (struct webhook_transport){ curl_send, curl_cancel, curl_answer, curl_wait, curl_wake,
		curl_free_all };
	transport->multi = curl_multi_init();
	transport->ca_file = ca_file ? strdup(ca_file) : NULL;
	if (!transport->multi || (ca_file && !transport->ca_file)) {
		curl_free_all(&transport->functions);
		return error_no_memory(error);
	}
	*out = &transport->functions;
	return 0;
}
