#include "config/host.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *written, *is; /* NULL: refused */
    const char *why;
} rows[] = {
    {"smtp.example.com", "smtp.example.com", NULL},
    {"localhost", "localhost", NULL},
    {"smtp_relay.ns.svc.cluster.local.", "smtp_relay.ns.svc.cluster.local.", NULL},
    {"192.0.2.1", "192.0.2.1", NULL},
    {"::1", "::1", NULL},
    {"[::1]", "::1", NULL},
    {"[2001:db8::25]", "2001:db8::25", NULL},
    {"fe80::1%eth0", "fe80::1%eth0", NULL},
    {"[fe80::1%eth0]", "fe80::1%eth0", NULL},
    {"b\xc3\xbcro.example.com", "xn--bro-hoa.example.com", NULL},
    {"B\xc3\x9c"
     "RO.example.com.",
     "xn--bro-hoa.example.com.", NULL},
    {"stra\xc3\x9f"
     "e.example",
     "xn--strae-oqa.example", NULL}, /* nontransitional */
    {"\xe4\xbe\x8b\xe3\x81\x88.jp", "xn--r8jz45g.jp", NULL},
    {"xn--bro-hoa.example.com", "xn--bro-hoa.example.com", NULL},
    {"smtp.example.com:587", NULL, "write host: smtp.example.com, port: 587"},
    {"mail:25", NULL, "write host: mail, port: 25"},
    {"[::1]:465", NULL, "write host: [::1], port: 465"},
    {"smtps://smtp.example.com", NULL, "write host: smtp.example.com, tls: implicit"},
    {"SMTPS://u:hidden@smtp.example.com:465", NULL,
     "write host: smtp.example.com, port: 465, tls: implicit"},
    {"smtp://[::1]:2525/", NULL, "write host: ::1, port: 2525"},
    {"ssl://smtp.example.com", NULL, "write host: smtp.example.com"},
    {"://", NULL, "without \"://\""},
    {"smtp.example.com:", NULL, "is no host name"},
    {"smtp.example.com:submission", NULL, "is no host name"},
    {"[::1", NULL, "is no host name"},
    {"[smtp.example.com]", NULL, "is no host name"},
    {"[::1]x", NULL, "is no host name"},
    {"1::2::3", NULL, "is no host name"},
    {"user@smtp.example.com", NULL, "is no host name"},
    {"smtp.example.com/", NULL, "is no host name"},
    {"smtp.example.com,mx.example.com", NULL, "is no host name"},
    {"smtp example", NULL, "is no host name"},
    {"a..b", NULL, "is no host name"},
    {".", NULL, "is no host name"},
    {".example", NULL, "is no host name"},
    {"-x", NULL, "is no host name"},
    {"\xff.example", NULL, "is no host name"},
    {"\xe2\x80\x8b.example", NULL, "is no host name"},
    {"", NULL, "is no host name"},
};

Test(host, as_dns_has_it_or_told_what_to_write)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = {0};
        const char *is = config_host_of(rows[i].written, arena, &err);
        if (rows[i].is != NULL) {
            cr_expect(is != NULL && strcmp(is, rows[i].is) == 0, "%s: %s%s", rows[i].written,
                      is != NULL ? is : "", is == NULL ? err.detail : "");
            continue;
        }
        cr_expect_null(is, "%s is taken as %s", rows[i].written, is);
        cr_expect_eq(err.code, ERR_CONFIG);
        cr_expect_not_null(strstr(err.detail, rows[i].why), "%s: %s", rows[i].written, err.detail);
        cr_expect_null(strstr(err.detail, "hidden"));
    }
}

Test(host, length)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    char name[400];
    struct error err;
    for (size_t len = 253; len <= 256; len++) {
        for (size_t i = 0; i < len; i++)
            name[i] = i % 50 == 49 ? '.' : 'a';
        name[len] = '\0';
        cr_expect_eq(config_host_of(name, arena, &err) != NULL, len == 253, "%zu", len);
        memcpy(name + len, ":25", 4);
        cr_expect_null(config_host_of(name, arena, &err));
    }
}
