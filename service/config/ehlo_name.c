#include "config/ehlo_name.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/domain.h"

/* "192.0.2.1", "2001:db8::1", either in brackets, "[IPv6:2001:db8::1]". */
static bool literal_of(const char *name, char out[INET6_ADDRSTRLEN + 8])
{
    char bare[INET6_ADDRSTRLEN + 8], text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    size_t len = strlen(name);
    bool bracketed = len >= 2 && name[0] == '[' && name[len - 1] == ']';
    if (bracketed)
        name++, len -= 2;
    if (bracketed && strncasecmp(name, "IPv6:", 5) == 0)
        name += 5, len -= 5;
    if (len >= sizeof(bare))
        return false;
    memcpy(bare, name, len);
    bare[len] = '\0';
    int family = inet_pton(AF_INET, bare, address) == 1 ? AF_INET : AF_INET6;
    if (family == AF_INET6 && inet_pton(AF_INET6, bare, address) != 1)
        return false;
    inet_ntop(family, address, text, sizeof(text));
    snprintf(out, INET6_ADDRSTRLEN + 8, family == AF_INET ? "[%s]" : "[IPv6:%s]", text);
    return true;
}

/* "1.2.3" and "192.0.2.300" are meant as addresses and are none: a server would say so. */
static bool is_numeric(const char *name)
{
    return name[strspn(name, "0123456789.")] == '\0';
}

const char *config_ehlo_name(const char *name, struct arena *arena)
{
    char literal[INET6_ADDRSTRLEN + 8];
    if (literal_of(name, literal))
        return arena_strdup(arena, literal);
    if (is_numeric(name))
        return NULL;
    const char *why, *ascii = domain_to_ascii(name, arena, &why);
    return ascii != NULL && domain_is(ascii, DOMAIN_STRICT) ? ascii : NULL;
}

const char *config_ehlo_name_of_machine(const char *machine, struct arena *arena)
{
    bool usable =
        strchr(machine, '.') != NULL && domain_is(machine, DOMAIN_STRICT) && !is_numeric(machine);
    return usable ? arena_strdup(arena, machine) : NULL;
}
