/*
 * Put before the C library by LD_PRELOAD: names below "hang.test" get no answer, as with a resolver
 * that is down.
 */

#include <dlfcn.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    size_t len = host != NULL ? strlen(host) : 0;
    bool numeric = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    while (!numeric && len >= 9 && strcmp(host + len - 9, "hang.test") == 0)
        pause();
    return real(host, port, hints, list);
}
