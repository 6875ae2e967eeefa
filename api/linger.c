#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/server.h"
#include "base/clock.h"

/*
 * A socket closed with unread octets in it is reset, and the reset overtakes the answer: whoever
 * still sends sees a broken pipe in place of a 413. So the answer goes out, our side is shut down,
 * and what still comes is thrown away (RFC 9112, 9.6). A client that does not stop gets no memory
 * and no thread by it, only a descriptor for a while.
 */

enum {
    LINGERING_MAX = 256, /* at once; one more is closed as it is */
    SILENCE_MS = 5000,   /* who sends nothing for so long has heard us, or never will */
    PIECE = 64 * 1024,
    EVENTS = 32,
};

struct lingering {
    struct watched watched;
    struct lingering *next, *prev;
    uint64_t left; /* octets that are still read */
    int64_t until_ms;
};

struct linger {
    struct watchdog *watchdog;
    pthread_t thread;
    int epoll_fd, stop_fd;
    pthread_mutex_t lock; /* guards the two below; the watchdog's may be taken under it */
    struct lingering *all;
    size_t n;
    char scratch[PIECE]; /* the thread's */
};

static void let_go(struct linger *linger, struct lingering *l)
{
    pthread_mutex_lock(&linger->lock);
    if (l->next != NULL)
        l->next->prev = l->prev;
    *(l->prev != NULL ? &l->prev->next : &linger->all) = l->next;
    linger->n--;
    pthread_mutex_unlock(&linger->lock);
    watchdog_remove(linger->watchdog, &l->watched);
    /* The owner's descriptor may be open still, and as long as it is, so is what we wait for. */
    epoll_ctl(linger->epoll_fd, EPOLL_CTL_DEL, l->watched.fd, NULL);
    close(l->watched.fd);
    free(l);
}

static int64_t deadline_of(const struct lingering *l, int64_t now_ms)
{
    return now_ms + SILENCE_MS < l->until_ms ? now_ms + SILENCE_MS : l->until_ms;
}

/* One piece; there may be others who have something. */
static void read_on(struct linger *linger, struct lingering *l)
{
    ssize_t n = read(l->watched.fd, linger->scratch, sizeof(linger->scratch));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || (uint64_t)n >= l->left) {
        let_go(linger, l);
        return;
    }
    l->left -= (uint64_t)n;
    atomic_store(&l->watched.deadline_ms, deadline_of(l, clock_mono_ms()));
}

static void *run(void *arg)
{
    struct linger *linger = arg;
    struct epoll_event events[EVENTS];
    for (;;) {
        int n = epoll_wait(linger->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) /* stop_fd */
                return NULL;
            read_on(linger, events[i].data.ptr);
        }
    }
}

int linger_start(struct watchdog *watchdog, struct linger **linger_out, struct error *err)
{
    struct linger *linger = calloc(1, sizeof(*linger));
    if (linger == NULL)
        return error_set(err, ERR_NOMEM, "linger");
    struct epoll_event stop = {.events = EPOLLIN};
    linger->watchdog = watchdog;
    linger->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    linger->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&linger->lock, NULL);
    if (linger->epoll_fd >= 0 && linger->stop_fd >= 0 &&
        epoll_ctl(linger->epoll_fd, EPOLL_CTL_ADD, linger->stop_fd, &stop) == 0 &&
        pthread_create(&linger->thread, NULL, run, linger) == 0) {
        *linger_out = linger;
        return 0;
    }
    if (linger->epoll_fd >= 0)
        close(linger->epoll_fd);
    if (linger->stop_fd >= 0)
        close(linger->stop_fd);
    pthread_mutex_destroy(&linger->lock);
    free(linger);
    return error_set(err, ERR_IO, "no thread to be had for sockets that linger");
}

void linger_stop(struct linger *linger)
{
    if (linger == NULL)
        return;
    eventfd_write(linger->stop_fd, 1);
    pthread_join(linger->thread, NULL);
    while (linger->all != NULL)
        let_go(linger, linger->all);
    close(linger->epoll_fd);
    close(linger->stop_fd);
    pthread_mutex_destroy(&linger->lock);
    free(linger);
}

void linger_take(struct linger *linger, int fd, uint64_t octets, int64_t for_ms)
{
    struct lingering *l = calloc(1, sizeof(*l));
    if (l == NULL || (l->watched.fd = dup(fd)) < 0) { /* no memory or no descriptor: as it is */
        free(l);
        return;
    }
    int64_t now_ms = clock_mono_ms();
    l->left = octets;
    l->until_ms = now_ms + for_ms;
    atomic_store(&l->watched.deadline_ms, deadline_of(l, now_ms));
    pthread_mutex_lock(&linger->lock);
    bool room = linger->n < LINGERING_MAX;
    if (room) {
        l->next = linger->all;
        if (l->next != NULL)
            l->next->prev = l;
        linger->all = l;
        linger->n++;
        watchdog_add(linger->watchdog, &l->watched);
    }
    pthread_mutex_unlock(&linger->lock);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
    if (!room) {
        close(l->watched.fd);
        free(l);
    } else if (epoll_ctl(linger->epoll_fd, EPOLL_CTL_ADD, l->watched.fd, &event) < 0) {
        let_go(linger, l);
    }
}
