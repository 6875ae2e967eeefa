#include "base/metric.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };
enum { BOUNDS_MAX = 20, LABELS_MAX = 256 };

const double METRIC_SECONDS[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                 1,      2.5,   5,      10,    30,   60,    300,  600, 0};
const double METRIC_COUNTS[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 0};

struct metric {
    struct metric *next; /* of the family */
    char labels[LABELS_MAX];
    const double *bounds;
    atomic_llong value;                   /* of a counter or gauge */
    atomic_llong sum_micro;               /* a histogram's sum, in millionths */
    atomic_llong buckets[BOUNDS_MAX + 1]; /* not cumulative; behind the bounds: what exceeds them */
};

struct family {
    struct family *next;
    const char *name, *help;
    enum kind kind;
    struct metric *series, **series_end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the lists, not the values */
static struct family *families;

/* One name="value"; nothing is appended if it does not fit whole. */
static size_t append_label(char *out, size_t room, const char *name, const char *value)
{
    size_t n = (size_t)snprintf(out, room, "%s=\"", name);
    for (const char *p = value; *p != '\0' && n + 4 < room; p++) {
        if (*p == '"' || *p == '\\' || *p == '\n')
            out[n++] = '\\';
        out[n++] = *p;
        if (*p == '\n')
            out[n - 1] = 'n';
    }
    if (n + 2 > room) {
        out[0] = '\0';
        return 0;
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

static void format_labels(const char *const labels[], char out[LABELS_MAX])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; labels != NULL && labels[i] != NULL && n + 1 < LABELS_MAX; i += 2) {
        size_t comma = n > 0;
        size_t added =
            append_label(out + n + comma, LABELS_MAX - n - comma, labels[i], labels[i + 1]);
        if (added > 0 && comma > 0)
            out[n] = ',';
        n += added > 0 ? comma + added : 0;
    }
}

static struct family *family_of(const char *name, const char *help, enum kind kind)
{
    struct family **at = &families;
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (*at == NULL && (*at = calloc(1, sizeof(**at))) != NULL) {
        **at = (struct family){.name = name, .help = help, .kind = kind};
        (*at)->series_end = &(*at)->series;
    }
    return *at;
}

static struct metric *series_of(const char *name, const char *help, enum kind kind,
                                const char *const labels[], const double *bounds)
{
    char text[LABELS_MAX];
    format_labels(labels, text);
    pthread_mutex_lock(&lock);
    struct family *family = family_of(name, help, kind);
    struct metric *metric = family != NULL ? family->series : NULL;
    while (metric != NULL && strcmp(metric->labels, text) != 0)
        metric = metric->next;
    if (metric == NULL && family != NULL && (metric = calloc(1, sizeof(*metric))) != NULL) {
        memcpy(metric->labels, text, sizeof(text));
        metric->bounds = bounds;
        *family->series_end = metric;
        family->series_end = &metric->next;
    }
    pthread_mutex_unlock(&lock);
    return metric;
}

struct metric *metric_counter(const char *name, const char *help, const char *const labels[])
{
    return series_of(name, help, COUNTER, labels, NULL);
}

struct metric *metric_gauge(const char *name, const char *help, const char *const labels[])
{
    return series_of(name, help, GAUGE, labels, NULL);
}

struct metric *metric_histogram(const char *name, const char *help, const char *const labels[],
                                const double *bounds)
{
    return series_of(name, help, HISTOGRAM, labels, bounds);
}

void metric_add(struct metric *metric, int64_t n)
{
    if (metric != NULL)
        atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t n)
{
    if (metric != NULL)
        atomic_store_explicit(&metric->value, n, memory_order_relaxed);
}

void metric_observe(struct metric *metric, double value)
{
    if (metric == NULL)
        return;
    size_t i = 0;
    while (i < BOUNDS_MAX && metric->bounds[i] > 0 && value > metric->bounds[i])
        i++;
    atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->sum_micro, (long long)(value * 1e6), memory_order_relaxed);
}

/* The count is the sum of the buckets read here, so that they agree while others observe. */
static void render_histogram(struct buffer *out, const char *name, struct metric *metric)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    const char *open = metric->labels[0] != '\0' ? "{" : "", *close = open[0] ? "}" : "";
    long long count = 0;
    size_t i = 0;
    for (; i < BOUNDS_MAX && metric->bounds[i] > 0; i++) {
        count += atomic_load(&metric->buckets[i]);
        buffer_printf(out, "%s_bucket{%s%sle=\"%g\"} %lld\n", name, metric->labels, comma,
                      metric->bounds[i], count);
    }
    count += atomic_load(&metric->buckets[i]);
    buffer_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", name, metric->labels, comma, count);
    buffer_printf(out, "%s_sum%s%s%s %.6f\n", name, open, metric->labels, close,
                  (double)atomic_load(&metric->sum_micro) / 1e6);
    buffer_printf(out, "%s_count%s%s%s %lld\n", name, open, metric->labels, close, count);
}

void metric_render(struct buffer *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&lock);
    for (const struct family *family = families; family != NULL; family = family->next) {
        buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                      types[family->kind]);
        for (struct metric *metric = family->series; metric != NULL; metric = metric->next)
            if (family->kind == HISTOGRAM)
                render_histogram(out, family->name, metric);
            else if (metric->labels[0] != '\0')
                buffer_printf(out, "%s{%s} %lld\n", family->name, metric->labels,
                              (long long)atomic_load(&metric->value));
            else
                buffer_printf(out, "%s %lld\n", family->name,
                              (long long)atomic_load(&metric->value));
    }
    pthread_mutex_unlock(&lock);
}
