/*
 * What the engine tells those who wait: that something has changed, and of what. A notice is a topic and an id; as one text it
 * is the key under which requests wait (request_wait, http_wake) and which the store hands on after a commit.
 */
#ifndef ROUNDS_SERVER_ENGINE_NOTICE_H
#define ROUNDS_SERVER_ENGINE_NOTICE_H

enum topic {
	TOPIC_SITE,     /* a site has work, or no longer what it had */
	TOPIC_JOB,      /* a job has moved */
	TOPIC_PROGRESS, /* one of a job's sites has */
	TOPIC_COUNT
};

#define NOTICE_SIZE 80

void notice_key(enum topic topic, const char *id, char key[NOTICE_SIZE]);
/* The id in a key that notice_key made; TOPIC_COUNT and "" for any other text. */
const char *notice_read(const char *key, enum topic *topic);

#endif
