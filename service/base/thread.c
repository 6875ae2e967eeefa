#include "base/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { STACK_SIZE = 512 * 1024 }; /* less than a thread's usual 8 MiB */

struct start {
    const char *name;
    void (*run)(void *arg);
    void *arg;
};

static atomic_uint n_running;

void thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

static void *begin(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    thread_name(start.name);
    start.run(start.arg);
    atomic_fetch_sub(&n_running, 1);
    return NULL;
}

/* It inherits the mask of who starts it. */
static int start_blocked(struct start *start)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, begin, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : -1;
}

int thread_start(const char *name, void (*run)(void *arg), void *arg)
{
    struct start *start = malloc(sizeof(*start));
    if (start == NULL)
        return -1;
    *start = (struct start){.name = name, .run = run, .arg = arg};
    atomic_fetch_add(&n_running, 1);
    if (start_blocked(start) == 0)
        return 0;
    atomic_fetch_sub(&n_running, 1);
    free(start);
    return -1;
}

bool threads_left(void)
{
    return atomic_load(&n_running) > 0;
}
