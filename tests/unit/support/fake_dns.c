#include "tests/unit/support/fake_dns.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hanging = true;
static int n_asked;
static const char *known_host = "", *known_addresses;

static bool ends(const char *host, const char *with)
{
    size_t len = strlen(host), with_len = strlen(with);
    return len >= with_len && strcmp(host + len - with_len, with) == 0;
}

/* Each address by the C library, in one list; it frees lists element by element. */
static int make_list(getaddrinfo_fn *real, const char *addresses, const char *port,
                     const struct addrinfo *hints, struct addrinfo **list)
{
    char copy[256], *rest = copy, *address;
    snprintf(copy, sizeof(copy), "%s", addresses);
    while ((address = strsep(&rest, " ")) != NULL) {
        int rc = real(address, port, hints, list);
        if (rc != 0)
            return rc;
        while (*list != NULL)
            list = &(*list)->ai_next;
    }
    return 0;
}

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
    getaddrinfo_fn *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    bool numeric = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    if (numeric || host == NULL || !ends(host, ".test"))
        return real(host, port, hints, list);
    pthread_mutex_lock(&lock);
    n_asked++;
    pthread_cond_broadcast(&changed);
    while (ends(host, "hang.test") && hanging)
        pthread_cond_wait(&changed, &lock);
    const char *addresses = strcmp(host, known_host) == 0 ? known_addresses : "127.0.0.1";
    pthread_mutex_unlock(&lock);
    return ends(host, "fail.test") ? EAI_NONAME : make_list(real, addresses, port, hints, list);
}

void fake_dns_set(const char *host, const char *addresses)
{
    pthread_mutex_lock(&lock);
    known_host = host;
    known_addresses = addresses;
    pthread_mutex_unlock(&lock);
}

void fake_dns_let_go(void)
{
    pthread_mutex_lock(&lock);
    hanging = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void fake_dns_wait_until_asked(int n)
{
    pthread_mutex_lock(&lock);
    while (n_asked < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

int fake_dns_asked(void)
{
    pthread_mutex_lock(&lock);
    int n = n_asked;
    pthread_mutex_unlock(&lock);
    return n;
}
