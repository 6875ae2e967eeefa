#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"

static char *rendered(void)
{
    struct buffer out;
    buffer_init(&out, 1 << 20);
    metric_render(&out);
    char *text = buffer_steal_str(&out);
    cr_assert_not_null(text);
    return text;
}

static void assert_lines(const char *const lines[], size_t n)
{
    char *text = rendered();
    for (size_t i = 0; i < n; i++)
        cr_assert_not_null(strstr(text, lines[i]), "wanted:\n%s\nin:\n%s", lines[i], text);
    free(text);
}

Test(metric, the_same_series_is_the_same_pointer)
{
    const char *const a[] = {"relay", "a", NULL}, *const b[] = {"relay", "b", NULL};
    struct metric *first = metric_counter("t_same_total", "Help.", a);
    cr_assert_not_null(first);
    cr_assert_eq(metric_counter("t_same_total", "Help.", a), first);
    cr_assert_neq(metric_counter("t_same_total", "Help.", b), first);
    cr_assert_neq(metric_counter("t_other_total", "Help.", a), first);
}

Test(metric, renders_counters_and_gauges)
{
    metric_add(metric_counter("t_c_total", "Counts.", (const char *[]){"x", "1", NULL}), 3);
    metric_add(metric_counter("t_c_total", "Counts.", (const char *[]){"x", "2", NULL}), 1);
    struct metric *gauge = metric_gauge("t_g", "Shows.", NULL);
    metric_set(gauge, 7);
    metric_add(gauge, -9);
    static const char *const wanted[] = {
        "# HELP t_c_total Counts.\n# TYPE t_c_total counter\n"
        "t_c_total{x=\"1\"} 3\nt_c_total{x=\"2\"} 1\n",
        "# HELP t_g Shows.\n# TYPE t_g gauge\nt_g -2\n",
    };
    assert_lines(wanted, 2);
}

Test(metric, renders_histograms_cumulatively)
{
    struct metric *h =
        metric_histogram("t_h", "Takes.", (const char *[]){"r", "x", NULL}, METRIC_COUNTS);
    metric_observe(h, 1); /* a bound is inclusive */
    metric_observe(h, 3);
    metric_observe(h, 4.5);
    metric_observe(h, 5000);
    static const char *const wanted[] = {
        "t_h_bucket{r=\"x\",le=\"1\"} 1\nt_h_bucket{r=\"x\",le=\"2\"} 1\n"
        "t_h_bucket{r=\"x\",le=\"4\"} 2\nt_h_bucket{r=\"x\",le=\"8\"} 3\n",
        "t_h_bucket{r=\"x\",le=\"1024\"} 3\nt_h_bucket{r=\"x\",le=\"+Inf\"} 4\n"
        "t_h_sum{r=\"x\"} 5008.500000\nt_h_count{r=\"x\"} 4\n",
    };
    assert_lines(wanted, 2);
}

Test(metric, every_set_of_bounds_fits)
{
    struct metric *h = metric_histogram("t_bounds", "Help.", NULL, METRIC_SECONDS);
    metric_observe(h, 1e9);
    static const char *const wanted[] = {
        "t_bounds_bucket{le=\"0.0005\"} 0\n",
        "t_bounds_bucket{le=\"600\"} 0\nt_bounds_bucket{le=\"+Inf\"} 1\n",
    };
    assert_lines(wanted, 2);
}

Test(metric, labels_are_escaped)
{
    metric_add(metric_counter("t_e_total", "Help.",
                              (const char *[]){"relay", "a\"b\\c\nd", "o", "x", NULL}),
               1);
    static const char *const wanted[] = {"t_e_total{relay=\"a\\\"b\\\\c\\nd\",o=\"x\"} 1\n"};
    assert_lines(wanted, 1);
}

/* Names come from the configuration and may have any length: at each, the text stays well-formed.
 */
Test(metric, long_labels_are_cut_and_stay_whole)
{
    for (size_t len = 200; len < 300; len++) {
        char value[300] = "";
        memset(value, len % 2 == 0 ? 'v' : '"', len);
        value[len] = '\0';
        metric_add(metric_counter("t_l_total", "Help.",
                                  (const char *[]){"relay", value, "outcome", "sent", NULL}),
                   1);
    }
    char *text = rendered();
    size_t n = 0;
    for (const char *line = strstr(text, "t_l_total{"); line != NULL;
         line = strstr(line + 1, "\nt_l_total{"), n++) {
        const char *end = strchr(line + 1, '\n');
        cr_assert(strncmp(strchr(line, '}') - 1, "\"} ", 3) == 0, "%.300s", line);
        cr_assert_not_null(end);
    }
    cr_assert_gt(n, 1);
    free(text);
}

Test(metric, without_a_series_nothing_is_counted)
{
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe(NULL, 1);
}
