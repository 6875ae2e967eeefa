#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "smtp/addresses.h"

enum { SIZE = 8, NOW_MS = 1000000 };

struct fixture {
    struct sockaddr_storage addresses[SIZE];
    struct addrinfo list[SIZE];
    size_t n;
};

static void parse(const char *text, struct sockaddr_storage *to)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    memset(to, 0, sizeof(*to));
    bool is_v6 = strchr(text, ':') != NULL;
    to->ss_family = is_v6 ? AF_INET6 : AF_INET;
    cr_assert_eq(inet_pton(to->ss_family, text, is_v6 ? (void *)&v6->sin6_addr : &v4->sin_addr), 1);
}

/* "a b c" as the resolver's list */
static void make(struct fixture *f, const char *texts)
{
    char copy[256], *rest = copy, *text;
    memset(f, 0, sizeof(*f));
    snprintf(copy, sizeof(copy), "%s", texts);
    while ((text = strsep(&rest, " ")) != NULL) {
        parse(text, &f->addresses[f->n]);
        f->list[f->n].ai_family = f->addresses[f->n].ss_family;
        f->list[f->n].ai_addr = (struct sockaddr *)&f->addresses[f->n];
        if (f->n > 0)
            f->list[f->n - 1].ai_next = &f->list[f->n];
        f->n++;
    }
}

static void assert_order(struct addresses *addresses, const char *given, int64_t now_ms,
                         size_t size, const char *expected)
{
    struct fixture f;
    const struct addrinfo *sorted[SIZE];
    char text[INET6_ADDRSTRLEN], all[256] = "";
    make(&f, given);
    size_t n = addresses_sort(addresses, f.list, now_ms, sorted, size);
    for (size_t i = 0; i < n; i++) {
        getnameinfo(sorted[i]->ai_addr,
                    sorted[i]->ai_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                     : sizeof(struct sockaddr_in),
                    text, sizeof(text), NULL, 0, NI_NUMERICHOST);
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i > 0 ? " " : "", text);
    }
    cr_expect_str_eq(all, expected);
}

static void fail(struct addresses *addresses, const char *text, int64_t now_ms)
{
    struct sockaddr_storage address;
    parse(text, &address);
    addresses_failed(addresses, (struct sockaddr *)&address, now_ms);
}

static void work(struct addresses *addresses, const char *text)
{
    struct sockaddr_storage address;
    parse(text, &address);
    addresses_worked(addresses, (struct sockaddr *)&address);
}

Test(addresses, families_in_turn)
{
    static const struct {
        const char *given, *expected;
    } rows[] = {
        {"10.0.0.1", "10.0.0.1"},
        {"2001:db8::1 2001:db8::2 10.0.0.1", "2001:db8::1 10.0.0.1 2001:db8::2"},
        {"10.0.0.1 10.0.0.2 2001:db8::1", "10.0.0.1 2001:db8::1 10.0.0.2"},
        {"10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.1 10.0.0.2 10.0.0.3"},
        {"2001:db8::1 10.0.0.1 10.0.0.2 10.0.0.3", "2001:db8::1 10.0.0.1 10.0.0.2 10.0.0.3"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_order(NULL, rows[i].given, NOW_MS, SIZE, rows[i].expected);
}

Test(addresses, no_more_than_there_is_room_for)
{
    struct addresses *addresses = addresses_new();
    assert_order(NULL, "10.0.0.1 10.0.0.2 10.0.0.3", NOW_MS, 2, "10.0.0.1 10.0.0.2");
    fail(addresses, "10.0.0.1", NOW_MS);
    assert_order(addresses, "10.0.0.1 10.0.0.2 10.0.0.3", NOW_MS, 2, "10.0.0.2 10.0.0.3");
    addresses_free(addresses);
    cr_assert_eq(addresses_sort(NULL, NULL, NOW_MS, NULL, 0), 0);
}

Test(addresses, what_failed_is_last_for_a_while)
{
    struct addresses *addresses = addresses_new();
    const char *all = "2001:db8::1 2001:db8::2 10.0.0.1 10.0.0.2";
    fail(addresses, "2001:db8::1", NOW_MS);
    fail(addresses, "10.0.0.1", NOW_MS + 10);
    assert_order(addresses, all, NOW_MS + 20, SIZE, "2001:db8::2 10.0.0.2 2001:db8::1 10.0.0.1");
    assert_order(addresses, all, NOW_MS + ADDRESSES_BAD_MS, SIZE,
                 "2001:db8::1 10.0.0.2 2001:db8::2 10.0.0.1");
    work(addresses, "10.0.0.1");
    work(addresses, "10.0.0.77"); /* never failed */
    assert_order(addresses, all, NOW_MS + ADDRESSES_BAD_MS, SIZE,
                 "2001:db8::1 10.0.0.1 2001:db8::2 10.0.0.2");
    addresses_free(addresses);
    addresses_free(NULL);
}

Test(addresses, failing_again_begins_the_while_anew)
{
    struct addresses *addresses = addresses_new();
    fail(addresses, "10.0.0.1", NOW_MS);
    fail(addresses, "10.0.0.1", NOW_MS + ADDRESSES_BAD_MS);
    assert_order(addresses, "10.0.0.1 10.0.0.2", NOW_MS + ADDRESSES_BAD_MS + 1, SIZE,
                 "10.0.0.2 10.0.0.1");
    addresses_free(addresses);
}

Test(addresses, the_oldest_is_forgotten_when_there_are_too_many)
{
    struct addresses *addresses = addresses_new();
    char text[INET6_ADDRSTRLEN];
    for (int i = 1; i <= 40; i++) {
        snprintf(text, sizeof(text), "10.0.0.%d", i);
        fail(addresses, text, NOW_MS);
    }
    assert_order(addresses, "10.0.0.40 10.0.0.1", NOW_MS, SIZE, "10.0.0.1 10.0.0.40");
    addresses_free(addresses);
}
