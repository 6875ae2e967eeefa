#include "smtp/resolver.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

/* Room for what nsswitch loads, less than a thread's usual 8 MiB. */
enum { STACK_SIZE = 512 * 1024 };

/* One getaddrinfo(), for everybody who wants it while it is under way. Freed by who leaves last:
 * the thread that looks up, or one of those who wait. */
struct lookup {
    struct lookup *next; /* of those under way */
    struct resolution *waiting;
    size_t n_holders;
    int rc, errnum; /* of getaddrinfo(), with the list its result: nobody changes them then */
    struct addrinfo *list;
    char port[8];
    char host[];
};

struct resolution {
    uv_async_t wake;
    struct resolution *next; /* of those who wait for the same */
    struct lookup *lookup;
    resolver_fn *done;
    void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list and what is in it;
nothing is taken under it */
static struct lookup *under_way;

/* --- the lookup --------------------------------------------------------------------------- */

static void let_go(struct lookup *lookup)
{
    pthread_mutex_lock(&lock);
    bool last = --lookup->n_holders == 0;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    if (lookup->list != NULL)
        freeaddrinfo(lookup->list);
    free(lookup);
}

static void look_up(struct lookup *lookup, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    lookup->rc = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->list);
    lookup->errnum = errno;
    if (lookup->rc != 0)
        lookup->list = NULL;
}

static void unlink_lookup(struct lookup *lookup)
{
    struct lookup **at = &under_way;
    while (*at != lookup)
        at = &(*at)->next;
    *at = lookup->next;
}

/* Under the lock nobody can forget its wait meanwhile, so none is woken that is being closed. */
static void wake_all(struct lookup *lookup)
{
    pthread_mutex_lock(&lock);
    unlink_lookup(lookup);
    for (struct resolution *r = lookup->waiting; r != NULL; r = r->next)
        uv_async_send(&r->wake);
    lookup->waiting = NULL;
    pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
    struct lookup *lookup = arg;
    thread_name("lookup");
    look_up(lookup, 0);
    wake_all(lookup);
    let_go(lookup);
    return NULL;
}

static int start_thread(struct lookup *lookup)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int rc = pthread_create(&thread, &attr, run, lookup);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : -1;
}

static struct lookup *lookup_new(const char *host, uint16_t port)
{
    size_t size = strlen(host) + 1;
    struct lookup *lookup = calloc(1, sizeof(*lookup) + size);
    if (lookup == NULL)
        return NULL;
    memcpy(lookup->host, host, size);
    snprintf(lookup->port, sizeof(lookup->port), "%u", port);
    lookup->n_holders = 1; /* who asks */
    return lookup;
}

/* The two below are called under the lock. */
static struct lookup *find(const struct lookup *like)
{
    struct lookup *lookup = under_way;
    while (lookup != NULL &&
           (strcmp(lookup->host, like->host) != 0 || strcmp(lookup->port, like->port) != 0))
        lookup = lookup->next;
    return lookup;
}

static int start(struct lookup *lookup)
{
    lookup->n_holders++; /* the thread */
    lookup->next = under_way;
    under_way = lookup;
    if (start_thread(lookup) == 0)
        return 0;
    under_way = lookup->next;
    lookup->n_holders--;
    return -1;
}

/* --- those who wait ----------------------------------------------------------------------- */

static void tell(struct resolution *r)
{
    struct lookup *lookup = r->lookup;
    struct error why = {0};
    if (lookup->list == NULL)
        error_set(&why, ERR_DNS_FAILED, "%s: %s", lookup->host,
                  lookup->rc == EAI_SYSTEM ? strerror(lookup->errnum)
                  : lookup->rc != 0        ? gai_strerror(lookup->rc)
                                           : "no address");
    r->done(r->arg, lookup->list, &why);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void leave(struct resolution *r)
{
    if (r->lookup != NULL)
        let_go(r->lookup);
    uv_close((uv_handle_t *)&r->wake, on_closed);
}

static void on_wake(uv_async_t *wake)
{
    tell(wake->data);
    leave(wake->data);
}

static int join(struct resolution *r, struct lookup *asked)
{
    pthread_mutex_lock(&lock);
    struct lookup *lookup = find(asked);
    int rc = 0;
    if (lookup == NULL) {
        lookup = asked;
        rc = start(asked);
    }
    if (rc == 0) {
        lookup->n_holders++;
        r->lookup = lookup;
        r->next = lookup->waiting;
        lookup->waiting = r;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* An address as such needs no thread: it is there at once, and told by the loop's next turn. */
static int ask(struct resolution *r, const char *host, uint16_t port)
{
    struct lookup *lookup = lookup_new(host, port);
    if (lookup == NULL)
        return -1;
    int rc = 0;
    look_up(lookup, AI_NUMERICHOST);
    if (lookup->rc == 0) {
        r->lookup = lookup;
        lookup->n_holders++;
        uv_async_send(&r->wake);
    } else {
        rc = join(r, lookup);
    }
    let_go(lookup);
    return rc;
}

struct resolution *resolver_ask(uv_loop_t *loop, const char *host, uint16_t port, resolver_fn *done,
                                void *arg)
{
    struct resolution *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    if (uv_async_init(loop, &r->wake, on_wake) < 0) {
        free(r);
        return NULL;
    }
    r->wake.data = r;
    r->done = done;
    r->arg = arg;
    if (ask(r, host, port) == 0)
        return r;
    leave(r);
    return NULL;
}

void resolver_forget(struct resolution *r)
{
    pthread_mutex_lock(&lock);
    struct resolution **at = &r->lookup->waiting;
    while (*at != NULL && *at != r)
        at = &(*at)->next;
    if (*at == r)
        *at = r->next;
    pthread_mutex_unlock(&lock);
    leave(r);
}
