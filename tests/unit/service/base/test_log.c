/* The log with its thread, writing to a pipe, a full disk, and into nothing. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

enum { PATIENCE_MS = 30000, MORE_THAN_FITS = 30000 };

static int reader_fd, old_stderr;

/* stderr becomes a pipe that this test may read. */
static void take_stderr(void)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    signal(SIGPIPE, SIG_IGN);
    old_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reader_fd = ends[0];
}

static void give_stderr_back(void)
{
    dup2(old_stderr, STDERR_FILENO);
    close(old_stderr);
}

static void start(void)
{
    struct error err;
    cr_assert_eq(log_start(&err), 0, "%s", err.detail);
}

static int64_t n_dropped(void)
{
    static const char name[] = "\npostern_log_lines_dropped_total ";
    struct buffer text;
    buffer_init(&text, 1 << 20);
    metric_render(&text);
    char *all = buffer_steal_str(&text);
    const char *at = strstr(all, name);
    int64_t n = at != NULL ? atoll(at + strlen(name)) : -1;
    free(all);
    return n;
}

/* Everything until the other end is closed. */
static void *read_all(void *arg)
{
    struct buffer *all = arg;
    char some[4096];
    for (ssize_t n; (n = read(reader_fd, some, sizeof(some))) > 0;)
        buffer_append(all, some, (size_t)n);
    return NULL;
}

static void log_numbers(int from, int to)
{
    for (int i = from; i < to; i++)
        log_info("counted", LOG_INT("i", i), LOG_STR("text", "as long as such lines are, about"));
}

/* Whole lines, in order; those that are missing are told where they are. */
static int64_t check_lines(char *text, int64_t *n_lines_out)
{
    int64_t next = 0, told = 0, n_lines = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0'; n_lines++) {
        char *at;
        cr_assert_eq(strncmp(line, "ts=", 3), 0, "a torn line: %s", line);
        if ((at = strstr(line, "msg=\"log lines dropped\" n=")) != NULL) {
            int64_t n = atoll(strchr(at + 5, '=') + 1);
            told += n;
            next += n;
        } else if ((at = strstr(line, " i=")) != NULL) {
            cr_assert_eq(atoll(at + 3), next, "%s", line);
            next++;
        }
    }
    *n_lines_out = next;
    return told;
}

Test(log, without_its_thread_it_writes_at_once)
{
    char line[200] = "";
    take_stderr();
    log_warn("at once", LOG_STR("relay", "a"));
    cr_assert_gt(read(reader_fd, line, sizeof(line) - 1), 0);
    give_stderr_back();
    cr_expect_not_null(strstr(line, "level=warn msg=\"at once\" relay=a\n"));
}

Test(log, what_is_below_the_level_is_not_written)
{
    char line[200] = "";
    take_stderr();
    log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
    log_info("not this", LOG_INT("i", 1));
    log_error("but this", LOG_INT("i", 2));
    cr_assert_gt(read(reader_fd, line, sizeof(line) - 1), 0);
    give_stderr_back();
    cr_expect_not_null(strstr(line, "but this"));
    cr_expect_null(strstr(line, "not this"));
}

Test(log, the_last_lines_are_there_at_the_end, .timeout = 60)
{
    pthread_t reader;
    struct buffer all;
    int64_t n = 0;
    buffer_init(&all, 64 << 20);
    take_stderr();
    pthread_create(&reader, NULL, read_all, &all);
    start();
    log_numbers(0, 5000);
    bool flushed = log_stop(PATIENCE_MS);
    log_numbers(5000, 5001); /* by itself again */
    give_stderr_back();
    pthread_join(reader, NULL);
    cr_expect(flushed);
    char *text = buffer_steal_str(&all);
    cr_expect_eq(check_lines(text, &n), n_dropped());
    cr_expect_eq(n, 5001);
    free(text);
}

/* The old way stood still in the first write() that found the pipe full. */
Test(log, nobody_is_held_up_by_a_pipe_that_is_not_read, .timeout = 60)
{
    pthread_t reader;
    struct buffer all;
    int64_t n = 0;
    buffer_init(&all, 64 << 20);
    take_stderr();
    start();
    log_numbers(0, MORE_THAN_FITS);
    int64_t dropped = n_dropped();
    pthread_create(&reader, NULL, read_all, &all);
    bool flushed = log_stop(PATIENCE_MS);
    give_stderr_back();
    pthread_join(reader, NULL);
    cr_expect(flushed);
    cr_expect_gt(dropped, 0);
    char *text = buffer_steal_str(&all);
    cr_expect_eq(check_lines(text, &n), dropped);
    cr_expect_eq(n, MORE_THAN_FITS);
    free(text);
}

Test(log, a_thread_that_is_stuck_is_left, .timeout = 60)
{
    take_stderr();
    start();
    log_numbers(0, MORE_THAN_FITS);
    cr_expect_not(log_stop(50));
    log_numbers(0, MORE_THAN_FITS); /* goes nowhere, and returns */
    give_stderr_back();
}

/* Somebody who shares the pipe has made it non-blocking. */
Test(log, a_full_pipe_that_does_not_block, .timeout = 60)
{
    pthread_t reader;
    struct buffer all;
    int64_t n = 0;
    buffer_init(&all, 64 << 20);
    take_stderr();
    fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
    start();
    log_numbers(0, MORE_THAN_FITS);
    int64_t dropped = n_dropped();
    pthread_create(&reader, NULL, read_all, &all);
    bool flushed = log_stop(PATIENCE_MS);
    give_stderr_back();
    pthread_join(reader, NULL);
    cr_expect(flushed);
    char *text = buffer_steal_str(&all);
    cr_expect_eq(check_lines(text, &n), dropped);
    cr_expect_eq(n, MORE_THAN_FITS);
    free(text);
}

static int64_t cpu_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* None of them holds anybody up, or is tried again and again: that would take the whole second. */
static void expect_patience(int fd)
{
    struct error err;
    const struct timespec a_second = {.tv_sec = 1};
    int saved = dup(STDERR_FILENO);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    else
        close(STDERR_FILENO);
    bool started = log_start(&err) == 0;
    log_numbers(0, MORE_THAN_FITS);
    int64_t before_ms = cpu_ms();
    nanosleep(&a_second, NULL);
    int64_t used_ms = cpu_ms() - before_ms;
    bool stopped = log_stop(PATIENCE_MS);
    dup2(saved, STDERR_FILENO);
    close(saved);
    cr_expect(started);
    cr_expect(stopped, "what cannot be written is not waited for at the end");
    cr_expect_lt(used_ms, 500);
    cr_expect_gt(n_dropped(), 0);
}

Test(log, a_stderr_that_is_closed, .timeout = 60)
{
    expect_patience(-1);
}

Test(log, a_disk_that_is_full, .timeout = 60)
{
    expect_patience(open("/dev/full", O_WRONLY));
}

Test(log, a_reader_that_is_gone, .timeout = 60)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    expect_patience(ends[1]);
}

static void *log_many(void *arg)
{
    log_numbers(0, 500);
    return NULL;
}

Test(log, lines_of_several_threads_do_not_mix, .timeout = 60)
{
    enum { THREADS = 4 };
    pthread_t reader, writers[THREADS];
    struct buffer all;
    buffer_init(&all, 64 << 20);
    take_stderr();
    start();
    for (int i = 0; i < THREADS; i++)
        pthread_create(&writers[i], NULL, log_many, NULL);
    pthread_create(&reader, NULL, read_all, &all);
    for (int i = 0; i < THREADS; i++)
        pthread_join(writers[i], NULL);
    bool flushed = log_stop(PATIENCE_MS);
    give_stderr_back();
    pthread_join(reader, NULL);
    cr_expect(flushed);
    char *text = buffer_steal_str(&all), *rest = text;
    int n = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0'; n++)
        cr_assert(strncmp(line, "ts=", 3) == 0 && strstr(line + 3, "ts=") == NULL, "%s", line);
    cr_expect_eq(n, THREADS * 500);
    free(text);
}
