/*
 * Text in Prometheus's exposition format, version 0.0.4: families of samples, whose names and units follow its conventions.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#ifndef ROUNDS_SERVER_OBSERVE_PROMETHEUS_H
#define ROUNDS_SERVER_OBSERVE_PROMETHEUS_H

#include <stdio.h>

/* Begins a family: `type` is counter, gauge or histogram. */
void prometheus_family(FILE *out, const char *name, const char *type, const char *help);

/* One sample. `labels` are pairs of name and value, ended by NULL; values are escaped. */
void prometheus_sample(FILE *out, const char *name, double value, const char *const *labels);

#endif
