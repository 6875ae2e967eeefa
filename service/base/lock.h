#ifndef POSTERN_BASE_LOCK_H
#define POSTERN_BASE_LOCK_H

/*
 * A mutex that can say whether the calling thread holds it, so that a function which wants it held
 * can assert that; and a condition to wait for under it, with deadlines on the monotonic clock.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct lock {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic(pthread_t) holder; /* 0: nobody */
};

/* Neither can fail with these attributes on Linux. */
static inline void lock_init(struct lock *lock)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&lock->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&lock->mutex, NULL);
    atomic_init(&lock->holder, 0);
}

static inline void lock_clear(struct lock *lock)
{
    pthread_cond_destroy(&lock->changed);
    pthread_mutex_destroy(&lock->mutex);
}

/* Only a thread itself stores its own id, so no other can mistake itself for the holder. */
static inline bool lock_held_by_me(const struct lock *lock)
{
    return atomic_load_explicit(&lock->holder, memory_order_relaxed) == pthread_self();
}

static inline void lock_take(struct lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    atomic_store_explicit(&lock->holder, pthread_self(), memory_order_relaxed);
}

static inline void lock_drop(struct lock *lock)
{
    atomic_store_explicit(&lock->holder, 0, memory_order_relaxed);
    pthread_mutex_unlock(&lock->mutex);
}

static inline void lock_signal(struct lock *lock)
{
    pthread_cond_signal(&lock->changed);
}

/* Until a signal, or `until_mono_ms` (INT64_MAX: no end); may also return for no reason. */
static inline void lock_wait(struct lock *lock, int64_t until_mono_ms)
{
    atomic_store_explicit(&lock->holder, 0, memory_order_relaxed);
    if (until_mono_ms == INT64_MAX) {
        pthread_cond_wait(&lock->changed, &lock->mutex);
    } else {
        const struct timespec until = {.tv_sec = until_mono_ms / 1000,
                                       .tv_nsec = until_mono_ms % 1000 * 1000000};
        pthread_cond_timedwait(&lock->changed, &lock->mutex, &until);
    }
    atomic_store_explicit(&lock->holder, pthread_self(), memory_order_relaxed);
}

#endif
