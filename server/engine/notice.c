#include "server/engine/notice.h"

#include <stdio.h>
#include <string.h>

static const char *const topics[TOPIC_COUNT] = {
	[TOPIC_SITE] = "site:",
	[TOPIC_JOB] = "job:",
	[TOPIC_PROGRESS] = "progress:",
};

void notice_key(enum topic topic, const char *id, char key[NOTICE_SIZE])
{
	snprintf(key, NOTICE_SIZE, "%s%s", topics[topic], id);
}

const char *notice_read(const char *key, enum topic *topic)
{
	for (int i = 0; i < TOPIC_COUNT; i++) {
		size_t length = strlen(topics[i]);

		*topic = (enum topic)i;
		if (!strncmp(key, topics[i], length))
			return key + length;
	}
	*topic = TOPIC_COUNT;
	return "";
}
