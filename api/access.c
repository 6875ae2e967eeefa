#include "api/access.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metric.h"

/* Every status that is ever given; the last stands for any other. */
static const int statuses[] = {200, 202, 400, 401, 403, 404, 405, 409, 413, 414,
                               415, 422, 431, 500, 502, 503, 504, 505, 0};
enum { N_STATUSES = sizeof(statuses) / sizeof(statuses[0]) };

/* Asked for at the first request of its kind, then kept: asking takes a lock. Two threads that ask
 * at once get the same series. */
static struct {
    _Atomic(struct metric *) requests[N_STATUSES];
    _Atomic(struct metric *) seconds;
} series[ROUTES_MAX + 1];

static const char *label_of(const struct route *route)
{
    return route != NULL ? route->path : "none";
}

static struct metric *counter_for(const struct route *route, size_t row, int status)
{
    size_t i = 0;
    while (i < N_STATUSES - 1 && statuses[i] != status)
        i++;
    struct metric *metric = atomic_load_explicit(&series[row].requests[i], memory_order_acquire);
    if (metric == NULL) {
        char text[8];
        snprintf(text, sizeof(text), "%d", statuses[i]);
        metric = metric_counter(
            "postern_http_requests_total", "HTTP requests by route and status; 0: none was given.",
            (const char *[]){"route", label_of(route), "method",
                             route != NULL ? route->method : "none", "status", text, NULL});
        atomic_store_explicit(&series[row].requests[i], metric, memory_order_release);
    }
    return metric;
}

static struct metric *histogram_for(const struct route *route, size_t row)
{
    struct metric *metric = atomic_load_explicit(&series[row].seconds, memory_order_acquire);
    if (metric == NULL) {
        metric = metric_histogram("postern_http_request_seconds",
                                  "From a request's header to its answer, waits included.",
                                  (const char *[]){"route", label_of(route), "method",
                                                   route != NULL ? route->method : "none", NULL},
                                  METRIC_SECONDS);
        atomic_store_explicit(&series[row].seconds, metric, memory_order_release);
    }
    return metric;
}

void access_note_unread(int status)
{
    metric_add(counter_for(NULL, ROUTES_MAX, status), 1);
    log_debug("request", LOG_STR("route", label_of(NULL)), LOG_INT("status", status));
}

void access_note(const struct api_request *request, const struct route *route, int status,
                 int64_t took_us)
{
    size_t row = route != NULL ? (size_t)(route - routes) : ROUTES_MAX;
    metric_add(counter_for(route, row, status), 1);
    metric_observe(histogram_for(route, row), (double)took_us / 1e6);
    const char *method = request->method;
    log_debug("request", LOG_STR("request", request->id), LOG_STR("method", method),
              LOG_STR("route", label_of(route)), LOG_INT("status", status), LOG_INT("us", took_us));
}
