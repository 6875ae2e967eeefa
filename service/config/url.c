#include "config/url.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct url_part part_of(const char *at, const char *end)
{
    return (struct url_part){at, (size_t)(end - at)};
}

static int split_port(const char *at, const char *end, uint16_t *port_out)
{
    size_t n = strspn(at, "0123456789");
    if (n == 0 || n > 5 || at + n != end)
        return -1;
    unsigned long port = strtoul(at, NULL, 10);
    *port_out = (uint16_t)port;
    return port >= 1 && port <= UINT16_MAX ? 0 : -1;
}

static int split_host(const char *at, const char *end, struct url *url)
{
    bool brackets = at < end && *at == '[';
    const char *from = brackets ? at + 1 : at;
    const char *to =
        brackets ? memchr(at, ']', (size_t)(end - at)) : memrchr(at, ':', (size_t)(end - at));
    if (to == NULL && brackets)
        return -1;
    to = to != NULL ? to : end;
    url->host = part_of(from, to);
    const char *rest = brackets ? to + 1 : to;
    if (url->host.len == 0 || (rest < end && *rest != ':'))
        return -1;
    return rest < end ? split_port(rest + 1, end, &url->port) : 0;
}

static void split_login(const char *at, const char *end, struct url *url)
{
    const char *colon = memchr(at, ':', (size_t)(end - at));
    url->user = part_of(at, colon != NULL ? colon : end);
    if (colon != NULL)
        url->password = part_of(colon + 1, end);
}

int url_split(const char *text, struct url *url_out)
{
    struct url url = {0};
    const char *authority = strstr(text, "://");
    if (authority == NULL)
        return -1;
    url.scheme = part_of(text, authority);
    authority += 3;
    const char *end = authority + strcspn(authority, "/?");
    const char *query = *end == '/' ? end + 1 : end;
    if (*query != '\0' && *query != '?')
        return -1;
    if (*query == '?')
        url.query = part_of(query + 1, query + strlen(query));
    const char *at = memrchr(authority, '@', (size_t)(end - authority));
    if (at != NULL)
        split_login(authority, at, &url);
    if (split_host(at != NULL ? at + 1 : authority, end, &url) < 0)
        return -1;
    *url_out = url;
    return 0;
}

int url_decode(struct url_part part, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < part.len; i++) {
        if (part.at[i] != '%') {
            out[n++] = part.at[i];
            continue;
        }
        int high = i + 2 < part.len ? OPENSSL_hexchar2int((unsigned char)part.at[i + 1]) : -1;
        int low = high >= 0 ? OPENSSL_hexchar2int((unsigned char)part.at[i + 2]) : -1;
        if (low < 0 || high + low == 0)
            return -1;
        out[n++] = (char)(high * 16 + low);
        i += 2;
    }
    out[n] = '\0';
    return 0;
}
