#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "api/server.h"
#include "base/clock.h"
#include "base/thread.h"

enum { LOOK_MS = 50 };

struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock; /* guards the two below; a socket is not closed while it is held */
    struct watched *all;
    bool stop;
    pthread_cond_t news;
};

static void look(struct watchdog *watchdog)
{
    int64_t now_ms = clock_mono_ms();
    for (struct watched *w = watchdog->all; w != NULL; w = w->next)
        if (atomic_load_explicit(&w->deadline_ms, memory_order_relaxed) <= now_ms) {
            shutdown(w->fd, SHUT_RDWR);
            atomic_store(&w->deadline_ms, INT64_MAX);
        }
}

static void *run(void *arg)
{
    struct watchdog *watchdog = arg;
    thread_name("api watchdog");
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (watchdog->all == NULL) /* nobody to watch: no need to wake up */
            pthread_cond_wait(&watchdog->news, &watchdog->lock);
        else
            pthread_cond_timedwait(&watchdog->news, &watchdog->lock, &until);
        look(watchdog);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

int watchdog_start(struct watchdog **watchdog_out, struct error *err)
{
    struct watchdog *watchdog = calloc(1, sizeof(*watchdog));
    if (watchdog == NULL)
        return error_set(err, ERR_NOMEM, "watchdog");
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* the wall clock may be set back a day */
    pthread_cond_init(&watchdog->news, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&watchdog->thread, NULL, run, watchdog) != 0) {
        pthread_cond_destroy(&watchdog->news);
        pthread_mutex_destroy(&watchdog->lock);
        free(watchdog);
        return error_set(err, ERR_IO, "no thread to be had for the watchdog");
    }
    *watchdog_out = watchdog;
    return 0;
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->stop = true;
    pthread_cond_signal(&watchdog->news);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->news);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}

void watchdog_add(struct watchdog *watchdog, struct watched *watched)
{
    pthread_mutex_lock(&watchdog->lock);
    watched->prev = NULL;
    watched->next = watchdog->all;
    if (watched->next != NULL)
        watched->next->prev = watched;
    else
        pthread_cond_signal(&watchdog->news);
    watchdog->all = watched;
    pthread_mutex_unlock(&watchdog->lock);
}

void watchdog_remove(struct watchdog *watchdog, struct watched *watched)
{
    pthread_mutex_lock(&watchdog->lock);
    if (watched->next != NULL)
        watched->next->prev = watched->prev;
    *(watched->prev != NULL ? &watched->prev->next : &watchdog->all) = watched->next;
    pthread_mutex_unlock(&watchdog->lock);
}

struct watched *watchdog_find(struct watchdog *watchdog, int fd)
{
    pthread_mutex_lock(&watchdog->lock);
    struct watched *w = watchdog->all;
    while (w != NULL && w->fd != fd)
        w = w->next;
    pthread_mutex_unlock(&watchdog->lock);
    return w;
}

size_t watchdog_shut_all(struct watchdog *watchdog)
{
    size_t n = 0;
    pthread_mutex_lock(&watchdog->lock);
    for (struct watched *w = watchdog->all; w != NULL; w = w->next)
        if (w->connection != NULL) {
            shutdown(w->fd, SHUT_RDWR);
            n++;
        }
    pthread_mutex_unlock(&watchdog->lock);
    return n;
}
