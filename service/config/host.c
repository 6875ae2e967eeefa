#include "config/host.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/domain.h"
#include "config/url.h"

static const char *refuse(const char *written, struct error *err)
{
    error_set(err, ERR_CONFIG, "\"%.200s\" is no host name or IP address", written);
    return NULL;
}

/* What other clients take as one is told apart. A URL may hold a password: it is not repeated. */
static const char *refuse_url(const char *written, struct error *err)
{
    struct url url;
    char port[16] = "", tls[24] = "";
    if (url_split(written, &url) < 0 || url.host.len > DOMAIN_MAX) {
        error_set(err, ERR_CONFIG, "a host name alone is wanted, without \"://\"");
        return NULL;
    }
    if (url.port != 0)
        snprintf(port, sizeof(port), ", port: %u", url.port);
    if (url.scheme.len == 5 && strncasecmp(url.scheme.at, "smtps", 5) == 0)
        snprintf(tls, sizeof(tls), ", tls: implicit");
    error_set(err, ERR_CONFIG, "a URL is none: write host: %.*s%s%s", (int)url.host.len,
              url.host.at, port, tls);
    return NULL;
}

static const char *refuse_with_port(const char *written, const char *colon, struct error *err)
{
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || colon - written > DOMAIN_MAX)
        return refuse(written, err);
    error_set(err, ERR_CONFIG, "the port stands apart: write host: %.*s, port: %s",
              (int)(colon - written), written, colon + 1);
    return NULL;
}

static bool is_v6(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr octets;
    len = strcspn(text, "%") < len ? strcspn(text, "%") : len; /* fe80::1%eth0 */
    snprintf(address, sizeof(address), "%.*s", (int)len, text);
    return len < sizeof(address) && inet_pton(AF_INET6, address, &octets) == 1;
}

static const char *unbracketed(const char *written, struct arena *arena, struct error *err)
{
    const char *end = strchr(written, ']');
    if (end == NULL || !is_v6(written + 1, (size_t)(end - written - 1)))
        return refuse(written, err);
    return end[1] == ':'    ? refuse_with_port(written, end + 1, err)
           : end[1] != '\0' ? refuse(written, err)
                            : arena_strndup(arena, written + 1, (size_t)(end - written - 1));
}

const char *config_host_of(const char *written, struct arena *arena, struct error *err)
{
    bool ascii = true;
    error_set(err, ERR_CONFIG, "out of memory");
    for (const char *s = written; *s != '\0'; s++) {
        if ((unsigned char)*s <= ' ' || *s == 0x7f)
            return refuse(written, err);
        ascii &= (unsigned char)*s < 0x80;
    }
    const char *colon = strchr(written, ':');
    if (strstr(written, "://") != NULL)
        return refuse_url(written, err);
    if (written[0] == '[')
        return unbracketed(written, arena, err);
    if (colon != NULL)
        return is_v6(written, strlen(written)) ? written : refuse_with_port(written, colon, err);
    const char *why, *name = ascii ? written : domain_to_ascii(written, arena, &why);
    if (name == NULL)
        error_set(err, ERR_CONFIG, "\"%.200s\" is no host name: %s", written, why);
    return name == NULL || domain_is(name, DOMAIN_LOOKED_UP) ? name : refuse(written, err);
}
