#include <criterion/criterion.h>
#include <string.h>

#include "base/buffer.h"
#include "smtp/proxy.h"
#include "smtp/session.h"

/* A conversation with a proxy: what it says, and all that it is told. */
struct row {
    const char *name;
    bool http;
    const char *user, *password, *host;
    const char *said; /* by the proxy, in order */
    size_t said_len;
    const char *sent; /* by us, all of it */
    size_t sent_len;
    const char *trouble; /* in the error's detail; NULL: the way is open */
};

#define OCTETS(s) s, sizeof(s) - 1

static const struct row rows[] = {
    {"socks without login", false, NULL, NULL, "mail.example",
     OCTETS("\5\0\5\0\0\1\177\0\0\1\0\31"), OCTETS("\5\1\0\5\1\0\3\14mail.example\2\113"), NULL},
    {"socks tells a name", false, NULL, NULL, "mail.example", OCTETS("\5\0\5\0\0\3\4here\0\31"),
     OCTETS("\5\1\0\5\1\0\3\14mail.example\2\113"), NULL},
    {"socks tells an empty name", false, NULL, NULL, "m", OCTETS("\5\0\5\0\0\3\0\0\31"),
     OCTETS("\5\1\0\5\1\0\3\1m\2\113"), NULL},
    {"socks, IPv4", false, NULL, NULL, "192.0.2.1", OCTETS("\5\0\5\0\0\1\0\0\0\0\0\0"),
     OCTETS("\5\1\0\5\1\0\1\300\0\2\1\2\113"), NULL},
    {"socks, IPv6", false, NULL, NULL, "::1",
     OCTETS("\5\0\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
     OCTETS("\5\1\0\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\2\113"), NULL},
    {"socks with login", false, "joe", "geheim", "m", OCTETS("\5\2\1\0\5\0\0\1\0\0\0\0\0\0"),
     OCTETS("\5\2\2\0\1\3joe\6geheim\5\1\0\3\1m\2\113"), NULL},
    {"socks, login not wanted", false, "joe", "geheim", "m", OCTETS("\5\0\5\0\0\1\0\0\0\0\0\0"),
     OCTETS("\5\2\2\0\5\1\0\3\1m\2\113"), NULL},
    {"socks, no password", false, "joe", NULL, "m", OCTETS("\5\2\1\0\5\0\0\1\0\0\0\0\0\0"),
     OCTETS("\5\2\2\0\1\3joe\0\5\1\0\3\1m\2\113"), NULL},
    {"socks, login refused", false, "joe", "geheim", "m", OCTETS("\5\2\1\1"),
     OCTETS("\5\2\2\0\1\3joe\6geheim"), "refused the user name or the password"},
    {"socks wants a login", false, NULL, NULL, "m", OCTETS("\5\2"), OCTETS("\5\1\0"),
     "wants a user name"},
    {"socks takes no method", false, NULL, NULL, "m", OCTETS("\5\377"), OCTETS("\5\1\0"),
     "wants a user name"},
    {"socks takes no method either", false, "joe", "geheim", "m", OCTETS("\5\377"),
     OCTETS("\5\2\2\0"), "neither this login nor none"},
    {"socks 4", false, NULL, NULL, "m", OCTETS("\4\0"), OCTETS("\5\1\0"), "SOCKS5"},
    {"an SMTP server in its place", false, NULL, NULL, "m", OCTETS("22"), OCTETS("\5\1\0"),
     "SOCKS5"},
    {"socks, refused there", false, NULL, NULL, "m", OCTETS("\5\0\5\5\0\1"),
     OCTETS("\5\1\0\5\1\0\3\1m\2\113"), "m port 587, the proxy was refused by the host"},
    {"socks, not allowed", false, NULL, NULL, "m", OCTETS("\5\0\5\2\0\1"),
     OCTETS("\5\1\0\5\1\0\3\1m\2\113"), "does not allow it"},
    {"socks, unheard of", false, NULL, NULL, "m", OCTETS("\5\0\5\143\0\1"),
     OCTETS("\5\1\0\5\1\0\3\1m\2\113"), "reason of its own"},
    {"socks, strange address", false, NULL, NULL, "m", OCTETS("\5\0\5\0\0\7"),
     OCTETS("\5\1\0\5\1\0\3\1m\2\113"), "kind of address"},

    {"http", true, NULL, NULL, "mail.example",
     OCTETS("HTTP/1.1 200 Connection established\r\n\r\n"),
     OCTETS("CONNECT mail.example:587 HTTP/1.1\r\nHost: mail.example:587\r\n\r\n"), NULL},
    {"http with headers", true, NULL, NULL, "m",
     OCTETS("HTTP/1.0 299\r\nContent-Length: 7\r\nVia: \r\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"), NULL},
    {"http, IPv6", true, NULL, NULL, "2001:db8::1", OCTETS("HTTP/1.1 200 OK\r\n\r\n"),
     OCTETS("CONNECT [2001:db8::1]:587 HTTP/1.1\r\nHost: [2001:db8::1]:587\r\n\r\n"), NULL},
    {"http with login", true, "Aladdin", "open sesame", "m", OCTETS("HTTP/1.1 200 OK\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n"
            "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
     NULL},
    {"http, login wanted", true, NULL, NULL, "m",
     OCTETS("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"),
     "asked for m port 587, the proxy says 407 Proxy Authentication Required"},
    {"http, what we said quoted", true, "Aladdin", "open sesame", "m",
     OCTETS("HTTP/1.1 400 Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== is nobody\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n"
            "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
     "the proxy says 400"},
    {"http, the password quoted", true, "Aladdin", "open sesame", "m",
     OCTETS("HTTP/1.1 400 not open sesame\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n"
            "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
     "the proxy says 400"},
    {"http, 1xx opens nothing", true, NULL, NULL, "m", OCTETS("HTTP/1.1 100 Continue\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"), "says 100"},
    {"http, a code that is none", true, NULL, NULL, "m", OCTETS("HTTP/1.1 20 OK\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"), "does not answer in HTTP"},
    {"http, a code too long", true, NULL, NULL, "m", OCTETS("HTTP/1.1 2000 OK\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"), "does not answer in HTTP"},
    {"http, too short", true, NULL, NULL, "m", OCTETS("HTTP\r\n\r\n"),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"), "does not answer in HTTP"},
    {"http, an SMTP server in its place", true, NULL, NULL, "m", OCTETS("220 "),
     OCTETS("CONNECT m:587 HTTP/1.1\r\nHost: m:587\r\n\r\n"), "does not answer in HTTP"},
};

static void take_sent(struct proxy *proxy, struct buffer *sent)
{
    size_t len;
    const char *pending = proxy_pending(proxy, &len);
    cr_assert_eq(buffer_append(sent, pending, len), 0);
    proxy_sent(proxy, len);
}

/* Returns what proxy_feed() said last; `*used_out` octets were taken. */
static int play(const struct row *row, size_t at_most, struct buffer *sent, size_t *used_out,
                struct error *err)
{
    const struct session_proxy settings = {
        .http = row->http, .user = row->user, .password = row->password};
    CLEANUP(proxy_free) struct proxy *proxy = NULL;
    int rc = 0;
    *used_out = 0;
    cr_assert_eq(proxy_new(&settings, row->host, 587, &proxy, err), 0, "%s", row->name);
    while (rc == 0) {
        take_sent(proxy, sent);
        size_t n = proxy_wants(proxy);
        cr_assert_gt(n, 0, "%s", row->name);
        n = n < at_most ? n : at_most;
        cr_assert_leq(*used_out + n, row->said_len, "%s: it waits for more", row->name);
        rc = proxy_feed(proxy, row->said + *used_out, n, err);
        *used_out += n;
    }
    return rc;
}

static void play_all(size_t at_most)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        CLEANUP(buffer_clear) struct buffer sent;
        struct error err = {0};
        size_t used;
        buffer_init(&sent, 4096);
        int rc = play(row, at_most, &sent, &used, &err);
        cr_expect_eq(rc, row->trouble == NULL ? 1 : -1, "%s: %s", row->name, err.detail);
        cr_expect_eq(used, row->said_len, "%s: %zu octets taken", row->name, used);
        cr_expect(sent.len == row->sent_len && memcmp(sent.data, row->sent, sent.len) == 0, "%s",
                  row->name);
        if (row->trouble != NULL) {
            cr_expect_eq(err.code, ERR_PROXY_FAILED, "%s", row->name);
            cr_expect_not_null(strstr(err.detail, row->trouble), "%s: %s", row->name, err.detail);
            cr_expect(row->password == NULL || (strstr(err.detail, row->password) == NULL &&
                                                strstr(err.detail, "QWxh") == NULL));
        }
    }
}

Test(proxy, conversations_with_as_much_as_it_wants)
{
    play_all(SIZE_MAX);
}

Test(proxy, conversations_octet_by_octet)
{
    play_all(1);
}

/* What stands behind the proxy's last octet is the server's: proxy_wants() leaves it where it is,
 * and who feeds it all the same is refused. */
Test(proxy, nothing_behind_its_last_octet_is_taken)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct session_proxy settings = {.http = rows[i].http};
        CLEANUP(proxy_free) struct proxy *proxy = NULL;
        struct error err = {0};
        char more[64] = {0};
        cr_assert_eq(proxy_new(&settings, "m", 25, &proxy, &err), 0);
        cr_assert_eq(proxy_feed(proxy, more, proxy_wants(proxy) + 1, &err), -1);
        cr_assert_eq(err.code, ERR_PROXY_FAILED);
    }
}

Test(proxy, an_endless_header_ends)
{
    const struct session_proxy settings = {.http = true};
    CLEANUP(proxy_free) struct proxy *proxy = NULL;
    struct error err = {0};
    const char *begin = "HTTP/1.1 200 OK\r\n";
    cr_assert_eq(proxy_new(&settings, "m", 25, &proxy, &err), 0);
    size_t total = 0;
    int rc = 0;
    while (rc == 0 && total < 64 * 1024) {
        char next = total < strlen(begin) ? begin[total] : total % 70 == 0 ? '\r' : 'x';
        rc = proxy_feed(proxy, &next, 1, &err);
        total++;
    }
    cr_assert_eq(rc, -1);
    cr_assert_leq(total, 8 * 1024);
    cr_assert_not_null(strstr(err.detail, "endless"), "%s", err.detail);
}

Test(proxy, hosts_and_logins_that_no_request_can_hold)
{
    char name[257];
    memset(name, 'a', 256);
    name[256] = '\0';
    const struct {
        const char *host, *user, *password;
    } bad[] = {
        {"m\r\nX: y", NULL, NULL}, {"m\n", NULL, NULL}, {"m x", NULL, NULL}, {"", NULL, NULL},
        {"m\177", NULL, NULL},     {name, NULL, NULL},  {"m", name, "p"},    {"m", "u", name},
    };
    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        const struct session_proxy settings = {
            .http = i % 2 == 0, .user = bad[i / 2].user, .password = bad[i / 2].password};
        struct proxy *proxy = NULL;
        struct error err = {0};
        cr_expect_eq(proxy_new(&settings, bad[i / 2].host, 25, &proxy, &err), -1, "%zu", i);
        cr_expect_eq(err.code, ERR_PROXY_FAILED);
        cr_expect_null(proxy);
    }
    proxy_free(NULL);
}

Test(proxy, the_longest_request_has_room)
{
    char name[256];
    memset(name, 'a', 255);
    name[255] = '\0';
    for (int http = 0; http < 2; http++) {
        const struct session_proxy settings = {.http = http, .user = name, .password = name};
        CLEANUP(proxy_free) struct proxy *proxy = NULL;
        struct error err = {0};
        size_t len;
        cr_assert_eq(proxy_new(&settings, name, 65535, &proxy, &err), 0);
        if (!http) {
            cr_assert_eq(proxy_feed(proxy, "\5\2", 2, &err), 0);
            cr_assert_eq(proxy_feed(proxy, "\1\0", 2, &err), 0);
        }
        proxy_pending(proxy, &len);
        cr_assert_gt(len, 255 * 3);
    }
}
