#include "config/proxy.h"

#include <string.h>
#include <strings.h>

#include "config/url.h"

enum { SOCKS5_FIELD_MAX = 255 }; /* RFC 1928, section 5; RFC 1929, section 2 */

/* Decoded; NULL if it is not there, or cannot be, or has what would end a line of a CONNECT. */
static const char *text_of(struct url_part part, struct arena *arena)
{
    char *text = part.at != NULL ? arena_alloc(arena, part.len + 1) : NULL;
    if (text == NULL || url_decode(part, text) < 0)
        return NULL;
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return NULL;
    return text;
}

static enum config_proxy_kind kind_of(struct url_part scheme)
{
    static const struct {
        const char *word;
        enum config_proxy_kind kind;
    } words[] = {{"socks5", CONFIG_PROXY_SOCKS5}, {"http", CONFIG_PROXY_HTTP}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strlen(words[i].word) == scheme.len &&
            strncasecmp(words[i].word, scheme.at, scheme.len) == 0)
            return words[i].kind;
    return CONFIG_PROXY_NONE;
}

static bool fits(const char *text)
{
    return text != NULL && text[0] != '\0' && strlen(text) <= SOCKS5_FIELD_MAX;
}

int config_proxy_parse(const char *url, struct arena *arena, struct config_proxy *proxy_out,
                       struct error *err)
{
    static const char want[] = "write socks5://host:port or http://host:port, with user:password@ "
                               "before the host if it wants a login, special characters "
                               "percent-encoded";
    struct url parts;
    if (url_split(url, &parts) < 0 || parts.port == 0 || parts.query.at != NULL)
        return error_set(err, ERR_CONFIG, "%s", want);
    struct config_proxy proxy = {
        .kind = kind_of(parts.scheme),
        .host = text_of(parts.host, arena),
        .port = parts.port,
        .user = text_of(parts.user, arena),
        .password = text_of(parts.password, arena),
    };
    if (proxy.kind == CONFIG_PROXY_NONE || !fits(proxy.host) || strchr(proxy.host, ' ') != NULL)
        return error_set(err, ERR_CONFIG, "%s", want);
    if (parts.user.at != NULL && (!fits(proxy.user) || !fits(proxy.password)))
        return error_set(err, ERR_CONFIG,
                         "user and password are 1 to %d octets each, without control characters",
                         SOCKS5_FIELD_MAX);
    if (proxy.kind == CONFIG_PROXY_HTTP && proxy.user != NULL && strchr(proxy.user, ':') != NULL)
        return error_set(err, ERR_CONFIG, "a user with a \":\" cannot be told to an HTTP proxy");
    *proxy_out = proxy;
    return 0;
}
