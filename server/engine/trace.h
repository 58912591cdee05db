/*
 * W3C Trace Context: a job is a trace (that of whoever submitted it, or one named by the job's id), a task is a span in
 * it. Sites and trainers get the header's text with each task and pass it on.
 */
#ifndef ROUNDS_SERVER_ENGINE_TRACE_H
#define ROUNDS_SERVER_ENGINE_TRACE_H

#include <stdbool.h>

#define TRACE_SIZE       33
#define TRACEPARENT_SIZE 56

/* The trace of a `traceparent` header, as 32 digits; false if it is malformed or all zero. */
bool trace_parse(const char *traceparent, char trace[TRACE_SIZE]);

/* The trace of a job that was submitted without one: its id. */
void trace_of_job(const char *job, char trace[TRACE_SIZE]);

/* The header's text for a task: its span is the random end of the task's id. */
void trace_of_task(const char *trace, const char *task, char traceparent[TRACEPARENT_SIZE]);

#endif
