#include "torture.h"

#include <sanitizer/lsan_interface.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"

/*
 * Each scenario, with the n-th allocation failing (once; then from the n-th on), n = 1, 2, ...
 * until none fails any more. Each is a process of its own, so that a crash, a hang or a leak is one
 * failure. What is wrong is told with its n, and `torture SCENARIO once|on N` plays that one alone.
 */

enum { N_MAX = 20000, SECONDS_MAX = 120 };

static atomic_llong countdown; /* the allocation that fails is the one that makes it 0 */
static atomic_llong n_failed;
static atomic_bool active;
static bool from_then_on;

struct progress {
    long n;
};
static struct progress *progress; /* shared with the parent */

static bool fails(void)
{
    if (!atomic_load(&active))
        return false;
    long long left = atomic_fetch_sub(&countdown, 1);
    bool now = left == 1 || (from_then_on && left < 1);
    if (now)
        atomic_fetch_add(&n_failed, 1);
    return now;
}

/* --- what the linker puts before the C library -------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t n, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, n, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t n)
{
    return fails() ? NULL : __real_strndup(text, n);
}

/* An arena asks for memory so rarely that few of its users would ever see it fail. It remembers
 * that it did, so it is asked all the same, for more than there is. */
void *__real_arena_alloc(struct arena *arena, size_t size);
void *__real_arena_alloc_array(struct arena *arena, size_t n, size_t size);
char *__real_arena_strdup(struct arena *arena, const char *s);
char *__real_arena_strndup(struct arena *arena, const char *s, size_t len);
void *__wrap_arena_alloc(struct arena *arena, size_t size);
void *__wrap_arena_alloc_array(struct arena *arena, size_t n, size_t size);
char *__wrap_arena_strdup(struct arena *arena, const char *s);
char *__wrap_arena_strndup(struct arena *arena, const char *s, size_t len);

void *__wrap_arena_alloc(struct arena *arena, size_t size)
{
    return __real_arena_alloc(arena, fails() ? SIZE_MAX : size);
}

void *__wrap_arena_alloc_array(struct arena *arena, size_t n, size_t size)
{
    return __real_arena_alloc_array(arena, fails() ? SIZE_MAX : n, size);
}

char *__wrap_arena_strdup(struct arena *arena, const char *s)
{
    return fails() ? __real_arena_alloc(arena, SIZE_MAX) : __real_arena_strdup(arena, s);
}

char *__wrap_arena_strndup(struct arena *arena, const char *s, size_t len)
{
    return fails() ? __real_arena_alloc(arena, SIZE_MAX) : __real_arena_strndup(arena, s, len);
}

void torture_pause(void)
{
    atomic_store(&active, false);
}

void torture_resume(void)
{
    atomic_store(&active, true);
}

void torture_fail(const char *file, int line, const char *what)
{
    atomic_store(&active, false);
    printf("%s:%d: not so: %s\n", file, line, what);
    fflush(stdout);
    _exit(1);
}

/* --- one scenario ------------------------------------------------------------------------- */

/* False: something failed that should not have. */
static bool run_once(const struct torture_scenario *scenario, long n)
{
    struct error err = {0};
    progress->n = n;
    atomic_store(&countdown, n);
    atomic_store(&n_failed, 0);
    atomic_store(&active, true);
    int rc = scenario->run(&err);
    atomic_store(&active, false);
    if (rc == 0 || (atomic_load(&n_failed) > 0 && err.code == ERR_NOMEM))
        return true;
    printf("the error is %s: %s\n", error_word(err.code), err.detail);
    return false;
}

static bool leaks(void)
{
    return __lsan_do_recoverable_leak_check() != 0;
}

/* Until nothing fails. The first runs without, so that what libraries keep for good is there. */
static bool run_all(const struct torture_scenario *scenario)
{
    if (!run_once(scenario, INT32_MAX))
        return false;
    for (long n = 1; n < N_MAX; n++) {
        if (!run_once(scenario, n))
            return false;
        if (atomic_load(&n_failed) == 0) {
            progress->n = n - 1;
            return !leaks();
        }
        if (n % 16 == 0 && leaks())
            return false;
    }
    printf("it does not come to an end\n");
    return false;
}

static bool passes(const struct torture_scenario *scenario, bool on)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS_MAX);
        from_then_on = on;
        bool good = run_all(scenario);
        fflush(stdout);
        _exit(good ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    const char *mode = on ? "on" : "once";
    if (status == 0)
        printf("ok    %s %s: %ld allocations\n", scenario->name, mode, progress->n);
    else if (WIFSIGNALED(status))
        printf("FAIL  %s %s %ld: signal %d\n", scenario->name, mode, progress->n, WTERMSIG(status));
    else
        printf("FAIL  %s %s %ld\n", scenario->name, mode, progress->n);
    return status == 0;
}

static int play(const char *name, const char *mode, long n)
{
    for (const struct torture_scenario *s = torture_scenarios; s->name != NULL; s++)
        if (strcmp(s->name, name) == 0) {
            from_then_on = strcmp(mode, "on") == 0;
            bool good = run_once(s, INT32_MAX) && run_once(s, n);
            return good && !leaks() ? 0 : 1;
        }
    return 2;
}

int main(int argc, char **argv)
{
    int n_passed = 0, n_bad = 0;
    progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    setenv("GSS_MECH_CONFIG", "/dev/null", 1); /* its plug-ins keep memory of each login for good */
    if (argc == 4)
        return play(argv[1], argv[2], atol(argv[3]));
    for (const struct torture_scenario *s = torture_scenarios; s->name != NULL; s++)
        for (int on = 0; on < 2; on++)
            if (argc < 2 || strcmp(argv[1], s->name) == 0)
                (*(passes(s, on) ? &n_passed : &n_bad))++;
    printf("%d passed, %d failed\n", n_passed, n_bad);
    return n_bad > 0 || n_passed == 0;
}
