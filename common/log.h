/*
 * One line per event on standard error, `key=value` or JSON:
 *
 *     log_info("task leased", "task", id, "site", site, NULL);
 *
 * Keys and values alternate and end with NULL; a NULL value is left out. Control characters are escaped, so a
 * hostile name cannot forge a line. Never log a secret or a weight. Safe from any thread.
 */
#ifndef ROUNDS_COMMON_LOG_H
#define ROUNDS_COMMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below `level` are dropped; `json` chooses the format. Call once, before threads start. */
void log_setup(enum log_level level, bool json);
/* The level alone, at any time. */
void log_set_level(enum log_level level);

/* "debug", "info", "warn", "error"; false and *level unchanged if it is none of them. */
bool log_level_parse(const char *name, enum log_level *level);

void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)

#endif
