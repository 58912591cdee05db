/*
 * The dashboard's files. All of the folder is read once, at start: a request is looked up by name in what was read, so
 * no path from outside ever reaches the file system. `name.gz` beside `name` is what clients that take gzip get.
 */
#ifndef ROUNDS_SERVER_ROUTES_WEB_H
#define ROUNDS_SERVER_ROUTES_WEB_H

#include "common/error.h"

struct web;

/* A folder that is not there makes a server without a dashboard, which says so. */
must_check int web_open(const char *directory, struct web **web, struct rounds_error *error);
void web_close(struct web *web);

#endif
