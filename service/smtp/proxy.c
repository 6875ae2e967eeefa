#include "smtp/proxy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "message/base64.h"
#include "smtp/sasl.h"
#include "smtp/settings.h"

enum {
    STRING_MAX = 255,    /* of host, user, password: SOCKS5 says its length in an octet */
    OUT_MAX = 2048,      /* more than CONNECT with three of these ever needs */
    HEAD_MAX = 8 * 1024, /* of an HTTP response */
    SOCKS_VERSION = 5,
    SOCKS_LOGIN_VERSION = 1,
};

enum { METHOD_NONE = 0, METHOD_LOGIN = 2 };
enum { ADDRESS_V4 = 1, ADDRESS_NAME = 3, ADDRESS_V6 = 4 };

/*
 * What is read comes in pieces whose length is known, each with the function that reads it:
 *
 *   SOCKS5  method -> [login ->] head -> [length of a name ->] address -> open
 *   HTTP    head, longer each time until its empty line is there -> open
 */
typedef int take_fn(struct proxy *p, struct error *err); /* 1, 0, -1 as proxy_feed() */

struct proxy {
    const char *host, *user, *password; /* in `strings`; the latter two may be NULL */
    uint16_t port;
    take_fn *take;
    size_t piece;     /* what of `in` it wants */
    struct buffer in; /* the piece so far */
    size_t out_len, n_sent;
    char out[OUT_MAX];
    char strings[3 * (STRING_MAX + 1)];
};

static int failed(struct error *err, const char *what)
{
    return error_set(err, ERR_PROXY_FAILED, "the proxy %s", what);
}

static void expect(struct proxy *p, size_t len, take_fn *take)
{
    buffer_reset(&p->in);
    p->piece = len;
    p->take = take;
}

static unsigned octet(const struct proxy *p, size_t i)
{
    return (unsigned char)p->in.data[i];
}

static void put(struct proxy *p, const void *octets, size_t len)
{
    assert(len <= sizeof(p->out) - p->out_len); /* its parts are bounded by STRING_MAX */
    memcpy(p->out + p->out_len, octets, len);
    p->out_len += len;
}

static void put_octet(struct proxy *p, size_t value)
{
    const unsigned char octet_ = (unsigned char)value;
    put(p, &octet_, 1);
}

/* --- SOCKS5 ------------------------------------------------------------------------------- */

static void put_string(struct proxy *p, const char *s)
{
    put_octet(p, strlen(s));
    put(p, s, strlen(s));
}

static const char *socks_refusal(unsigned code)
{
    static const char *const words[] = {
        [1] = "failed in general",       [2] = "does not allow it",
        [3] = "has no route there",      [4] = "cannot reach that host",
        [5] = "was refused by the host", [6] = "got no answer from the host",
        [7] = "knows no CONNECT",        [8] = "knows no such kind of address",
    };
    return code < sizeof(words) / sizeof(words[0]) && words[code] != NULL
               ? words[code]
               : "failed for a reason of its own";
}

static int take_socks_address(struct proxy *p, struct error *err)
{
    return 1; /* where it connects from is nothing to us */
}

static int take_socks_name_length(struct proxy *p, struct error *err)
{
    expect(p, octet(p, 0) + 2, take_socks_address);
    return 0;
}

static int take_socks_head(struct proxy *p, struct error *err)
{
    if (octet(p, 0) != SOCKS_VERSION)
        return failed(err, "does not answer in SOCKS5");
    if (octet(p, 1) != 0)
        return error_set(err, ERR_PROXY_FAILED, "asked for %s port %u, the proxy %s", p->host,
                         p->port, socks_refusal(octet(p, 1)));
    switch (octet(p, 3)) {
    case ADDRESS_V4:
        expect(p, 4 + 2, take_socks_address);
        return 0;
    case ADDRESS_V6:
        expect(p, 16 + 2, take_socks_address);
        return 0;
    case ADDRESS_NAME:
        expect(p, 1, take_socks_name_length);
        return 0;
    default:
        return failed(err, "tells a kind of address that SOCKS5 does not have");
    }
}

/* An address as such is sent as one: a proxy may well not take it for a name. */
static void put_destination(struct proxy *p)
{
    unsigned char octets[16];
    if (inet_pton(AF_INET, p->host, octets) == 1) {
        put_octet(p, ADDRESS_V4);
        put(p, octets, 4);
    } else if (inet_pton(AF_INET6, p->host, octets) == 1) {
        put_octet(p, ADDRESS_V6);
        put(p, octets, 16);
    } else {
        put_octet(p, ADDRESS_NAME);
        put_string(p, p->host);
    }
    put_octet(p, p->port >> 8);
    put_octet(p, p->port);
}

static void ask_for_connection(struct proxy *p)
{
    put_octet(p, SOCKS_VERSION);
    put_octet(p, 1); /* CONNECT */
    put_octet(p, 0);
    put_destination(p);
    expect(p, 4, take_socks_head);
}

static int take_socks_login(struct proxy *p, struct error *err)
{
    if (octet(p, 1) != 0) /* whatever version it says: some say 5 here */
        return failed(err, "refused the user name or the password");
    ask_for_connection(p);
    return 0;
}

static int take_socks_method(struct proxy *p, struct error *err)
{
    if (octet(p, 0) != SOCKS_VERSION)
        return failed(err, "does not answer in SOCKS5");
    if (octet(p, 1) == METHOD_NONE) {
        ask_for_connection(p);
        return 0;
    }
    if (octet(p, 1) != METHOD_LOGIN || p->user == NULL)
        return failed(err, p->user == NULL ? "wants a user name and a password"
                                           : "takes neither this login nor none");
    put_octet(p, SOCKS_LOGIN_VERSION);
    put_string(p, p->user);
    put_string(p, p->password);
    expect(p, 2, take_socks_login);
    return 0;
}

static void begin_socks(struct proxy *p)
{
    put_octet(p, SOCKS_VERSION);
    put_octet(p, p->user != NULL ? 2 : 1); /* methods */
    if (p->user != NULL)
        put_octet(p, METHOD_LOGIN);
    put_octet(p, METHOD_NONE);
    expect(p, 2, take_socks_method);
}

/* --- HTTP CONNECT ------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Some quote the request that they did not like, login and all; of those the code alone is shown.
 */
static int http_refused(const struct proxy *p, struct error *err)
{
    char said[256];
    const char *code = p->in.data + 9, *end = memchr(code, '\r', p->in.len - 9);
    const struct sasl_credentials login = {.password = p->password};
    snprintf(said, sizeof(said), "%.*s", (int)(end - code), code);
    int len = sasl_text_reveals(&login, said) ? 3 : (int)strlen(said);
    return error_set(err, ERR_PROXY_FAILED, "asked for %s port %u, the proxy says %.*s", p->host,
                     p->port, len, said);
}

/* "HTTP/1.1 200 ..."; RFC 9110, 9.3.6: any 2xx opens the way, and has no content. */
static int take_status(const struct proxy *p, struct error *err)
{
    const char *line = p->in.data;
    if (p->in.len < 13 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' || !is_digit(line[9]) ||
        !is_digit(line[10]) || !is_digit(line[11]) || (line[12] != ' ' && line[12] != '\r'))
        return failed(err, "does not answer in HTTP");
    return line[9] == '2' ? 1 : http_refused(p, err);
}

/* How much of the head's end (CR LF CR LF) is there. */
static size_t end_seen(const struct proxy *p)
{
    size_t n = p->in.len < 4 ? p->in.len : 4;
    while (n > 0 && memcmp(p->in.data + p->in.len - n, "\r\n\r\n", n) != 0)
        n--;
    return n;
}

static int take_http(struct proxy *p, struct error *err)
{
    size_t seen = end_seen(p);
    if (memcmp(p->in.data, "HTTP", 4) != 0) /* else a wrong port would be waited for in vain */
        return failed(err, "does not answer in HTTP");
    if (seen == 4)
        return take_status(p, err);
    if (p->in.len + 4 > HEAD_MAX)
        return failed(err, "sends an endless header");
    p->piece = p->in.len + 4 - seen;
    return 0;
}

__attribute__((format(printf, 2, 3))) static void put_text(struct proxy *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(p->out + p->out_len, sizeof(p->out) - p->out_len, format, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < sizeof(p->out) - p->out_len);
    p->out_len += (size_t)len;
}

/* RFC 7617 */
static int put_login(struct proxy *p, struct error *err)
{
    char pair[2 * STRING_MAX + 2];
    int len = snprintf(pair, sizeof(pair), "%s:%s", p->user, p->password);
    char *coded = base64_encode_str(pair, (size_t)len);
    explicit_bzero(pair, sizeof(pair));
    if (coded == NULL)
        return error_set(err, ERR_NOMEM, "a request to the proxy");
    put_text(p, "Proxy-Authorization: Basic %s\r\n", coded);
    explicit_bzero(coded, strlen(coded));
    free(coded);
    return 0;
}

static int begin_http(struct proxy *p, struct error *err)
{
    bool v6 = strchr(p->host, ':') != NULL;
    char authority[STRING_MAX + 16];
    snprintf(authority, sizeof(authority), "%s%s%s:%u", v6 ? "[" : "", p->host, v6 ? "]" : "",
             p->port);
    put_text(p, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority, authority);
    if (p->user != NULL && put_login(p, err) < 0)
        return -1;
    put_text(p, "\r\n");
    expect(p, 4, take_http);
    return 0;
}

/* --- the conversation --------------------------------------------------------------------- */

/* A line end would begin a header of its own, a space another word of the request. */
static bool fit_as_host(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f)
            return false;
    return true;
}

static bool too_long(const char *s)
{
    return s != NULL && strlen(s) > STRING_MAX;
}

static int check(const struct session_proxy *settings, const char *host, struct error *err)
{
    if (host[0] == '\0' || too_long(host) || !fit_as_host(host))
        return error_set(err, ERR_PROXY_FAILED, "no proxy can be asked for such a host name");
    if (too_long(settings->user) || too_long(settings->password))
        return error_set(err, ERR_PROXY_FAILED,
                         "a proxy's user name and password have at most %d octets", STRING_MAX);
    return 0;
}

static const char *keep(struct proxy *p, size_t slot, const char *s)
{
    char *copy = p->strings + slot * (STRING_MAX + 1);
    memcpy(copy, s, strlen(s) + 1);
    return copy;
}

int proxy_new(const struct session_proxy *settings, const char *host, uint16_t port,
              struct proxy **proxy_out, struct error *err)
{
    if (check(settings, host, err) < 0)
        return -1;
    CLEANUP(proxy_free) struct proxy *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return error_set(err, ERR_NOMEM, "a request to the proxy");
    buffer_init(&p->in, HEAD_MAX);
    p->host = keep(p, 0, host);
    p->port = port;
    if (settings->user != NULL) {
        p->user = keep(p, 1, settings->user);
        p->password = keep(p, 2, settings->password != NULL ? settings->password : "");
    }
    if (!settings->http)
        begin_socks(p);
    else if (begin_http(p, err) < 0)
        return -1;
    *proxy_out = TAKE(p);
    return 0;
}

void proxy_free(struct proxy *p)
{
    if (p == NULL)
        return;
    buffer_clear(&p->in);
    explicit_bzero(p, sizeof(*p));
    free(p);
}

const char *proxy_pending(const struct proxy *p, size_t *len_out)
{
    *len_out = p->out_len - p->n_sent;
    return p->out + p->n_sent;
}

void proxy_sent(struct proxy *p, size_t len)
{
    p->n_sent += len;
    assert(p->n_sent <= p->out_len);
}

size_t proxy_wants(const struct proxy *p)
{
    return p->piece - p->in.len;
}

int proxy_feed(struct proxy *p, const char *data, size_t len, struct error *err)
{
    if (len > proxy_wants(p))
        return failed(err, "says more than it was asked");
    if (buffer_append(&p->in, data, len) < 0)
        return error_set(err, ERR_NOMEM, "a reply of the proxy");
    return proxy_wants(p) == 0 ? p->take(p, err) : 0;
}
