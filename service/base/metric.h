#ifndef POSTERN_BASE_METRIC_H
#define POSTERN_BASE_METRIC_H

/*
 * Counters, gauges and histograms in the Prometheus text format. A series is asked for once, at
 * set-up, and kept; counting is then one atomic addition. Label values must come from a bounded
 * set (relay names, outcomes, routes, status classes), never from a client or a message.
 */

#include <stdint.h>

#include "base/buffer.h"

struct metric; /* one series; lives until the process ends */

/*
 * The series of that name and labels, made at the first call; the same pointer at every later one.
 * `labels` is alternating names and values, ended by NULL, or NULL for none:
 *     metric_counter("postern_recipients_total", "Recipients by outcome.",
 *                    (const char *[]){"relay", "primary", "outcome", "sent", NULL});
 * NULL without memory; every function below takes NULL as "count nothing".
 */
struct metric *metric_counter(const char *name, const char *help, const char *const labels[]);
struct metric *metric_gauge(const char *name, const char *help, const char *const labels[]);
/* `bounds` are upper bounds in the metric's base unit, ascending, ended by 0; static storage. */
struct metric *metric_histogram(const char *name, const char *help, const char *const labels[],
                                const double *bounds);

void metric_add(struct metric *metric, int64_t n); /* counters and gauges */
void metric_set(struct metric *metric, int64_t n); /* gauges */
void metric_observe(struct metric *metric, double value);

extern const double METRIC_SECONDS[]; /* 0.5 ms to 10 min: durations of requests and SMTP phases */
extern const double METRIC_COUNTS[];  /* 1 to 1024 in powers of two: batch sizes */

void metric_render(struct buffer *out); /* text format 0.0.4, families together, HELP and TYPE */

#endif
