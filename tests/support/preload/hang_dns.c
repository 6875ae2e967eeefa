/*
 * Put before the C library by LD_PRELOAD: names that end in $HANGING_NAME get no answer, as with a
 * resolver that is down.
 */

#include <dlfcn.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool hangs(const char *host)
{
    const char *name = getenv("HANGING_NAME");
    size_t len = host != NULL ? strlen(host) : 0, name_len = name != NULL ? strlen(name) : 0;
    return name_len > 0 && len >= name_len && strcmp(host + len - name_len, name) == 0;
}

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    bool numeric = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    while (!numeric && hangs(host))
        pause();
    return real(host, port, hints, list);
}
