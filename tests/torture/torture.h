#ifndef POSTERN_TESTS_TORTURE_H
#define POSTERN_TESTS_TORTURE_H

/*
 * Scenarios that are run again and again, each time with another allocation of ours failing. The
 * rule: only what our own objects ask for is failed (the program is linked with --wrap=malloc and
 * so on). Libraries are shared objects and never hit; some of them abort without memory by design.
 */

#include "base/error.h"

/* 0 and everything that was asked for, or -1 with `err`. What is done is checked by the scenario:
 * a success with something missing is TORTURE_CHECK's. Leaves nothing behind in either case. */
typedef int torture_fn(struct error *err);

struct torture_scenario {
    const char *name;
    torture_fn *run;
};

extern const struct torture_scenario torture_scenarios[]; /* ended by a NULL name */

/* Ends the run as a failure, in any thread. */
void torture_fail(const char *file, int line, const char *what) __attribute__((noreturn));
#define TORTURE_CHECK(condition)                                                                   \
    do                                                                                             \
        if (!(condition))                                                                          \
            torture_fail(__FILE__, __LINE__, #condition);                                          \
    while (0)

/* What is asked for in between is given: for the scenario's own needs. Of all threads. */
void torture_pause(void);
void torture_resume(void);

#endif
