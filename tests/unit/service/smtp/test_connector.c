#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "smtp/connector.h"
#include "tests/unit/support/fake_dns.h"

/*
 * Addresses of this machine, all with one port: 127.0.0.1 accepts, 127.0.0.2 has a full backlog and
 * so never answers, at 127.0.0.3 nothing listens, and to 224.0.0.1 no connection can be.
 */
enum { FILLERS = 4 };

struct fixture {
    uv_loop_t loop;
    struct addresses *addresses;
    struct connector *connector;
    int listener, full, fillers[FILLERS];
    uint16_t port;
    /* what was told */
    int n_resolved, n_connected, n_failed;
    char tried[256]; /* "127.0.0.2 127.0.0.1" */
    char peer[INET_ADDRSTRLEN];
    char local[INET_ADDRSTRLEN];
    enum smtp_step step;
    struct error why;
};

static struct sockaddr_in address_of(const char *text, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return address;
}

static int listen_at(const char *text, uint16_t port, int backlog)
{
    struct sockaddr_in address = address_of(text, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, backlog) == 0)
        return fd;
    close(fd);
    return -1;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static void fill_backlog(struct fixture *f)
{
    struct sockaddr_in address = address_of("127.0.0.2", f->port);
    for (int i = 0; i < FILLERS; i++) {
        f->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(f->fillers[i], (struct sockaddr *)&address, sizeof(address));
    }
    usleep(20000);
}

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    uv_loop_init(&f->loop);
    f->addresses = addresses_new();
    f->full = -1;
    for (int i = 0; i < 20 && f->full < 0; i++) { /* a port that is free at both */
        if (i > 0)
            close(f->listener);
        f->listener = listen_at("127.0.0.1", 0, 16);
        f->port = port_of(f->listener);
        f->full = listen_at("127.0.0.2", f->port, 0);
    }
    cr_assert_geq(f->full, 0);
    fill_backlog(f);
}

static void fixture_clear(struct fixture *f)
{
    for (int i = 0; i < FILLERS; i++)
        close(f->fillers[i]);
    close(f->full);
    close(f->listener);
    addresses_free(f->addresses);
    cr_assert_eq(uv_loop_close(&f->loop), 0);
}

static void on_resolved(void *arg)
{
    struct fixture *f = arg;
    f->n_resolved++;
}

static void on_trying(void *arg, const char *address)
{
    struct fixture *f = arg;
    size_t len = strlen(f->tried);
    snprintf(f->tried + len, sizeof(f->tried) - len, "%s%s", len > 0 ? " " : "", address);
}

static void on_connected(void *arg, struct transport *transport, size_t n_left)
{
    struct fixture *f = arg;
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    f->n_connected++;
    cr_assert_eq(getpeername(transport_fd(transport), (struct sockaddr *)&address, &len), 0);
    inet_ntop(AF_INET, &address.sin_addr, f->peer, sizeof(f->peer));
    len = sizeof(address);
    cr_assert_eq(getsockname(transport_fd(transport), (struct sockaddr *)&address, &len), 0);
    inet_ntop(AF_INET, &address.sin_addr, f->local, sizeof(f->local));
    transport_free(transport);
}

static void on_failed(void *arg, enum smtp_step step, const struct error *why)
{
    struct fixture *f = arg;
    f->n_failed++;
    f->step = step;
    f->why = *why;
}

static void begin(struct fixture *f, const char *host, const char *source, int64_t timeout_ms)
{
    const struct connector_settings settings = {.host = host,
                                                .port = f->port,
                                                .source_address = source,
                                                .addresses = f->addresses,
                                                .deadline_ms = clock_mono_ms() + timeout_ms};
    const struct connector_owner owner = {.resolved = on_resolved,
                                          .trying = on_trying,
                                          .connected = on_connected,
                                          .failed = on_failed,
                                          .arg = f};
    f->tried[0] = '\0';
    f->n_resolved = f->n_connected = f->n_failed = 0;
    f->why = (struct error){0};
    f->connector = connector_start(&f->loop, &settings, &owner);
    cr_assert_not_null(f->connector);
    cr_assert_eq(f->n_resolved + f->n_connected + f->n_failed, 0, "told before it returned");
}

static void run(struct fixture *f, const char *addresses, const char *source, int64_t timeout_ms)
{
    fake_dns_set("host.test", addresses);
    begin(f, "host.test", source, timeout_ms);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_assert_eq(f->n_connected + f->n_failed, 1, "%s", addresses);
}

static void assert_connected(const struct fixture *f, const char *tried, const char *peer)
{
    cr_assert_eq(f->n_connected, 1, "%s", f->why.detail);
    cr_assert_eq(f->n_resolved, 1);
    cr_assert_str_eq(f->tried, tried);
    cr_assert_str_eq(f->peer, peer);
}

static void assert_failed(const struct fixture *f, enum smtp_step step, enum error_code code,
                          const char *detail)
{
    cr_assert_eq(f->n_failed, 1);
    cr_assert_eq(f->step, step);
    cr_assert_eq(f->why.code, code, "%s: %s", error_word(f->why.code), f->why.detail);
    cr_assert_not_null(strstr(f->why.detail, detail), "%s", f->why.detail);
}

Test(connector, the_first_that_answers_wins)
{
    struct fixture f;
    fixture_init(&f);
    run(&f, "127.0.0.1", NULL, 5000);
    assert_connected(&f, "127.0.0.1", "127.0.0.1");
    run(&f, "127.0.0.3 127.0.0.1", NULL, 5000); /* refused: the next at once */
    assert_connected(&f, "127.0.0.3 127.0.0.1", "127.0.0.1");
    run(&f, "224.0.0.1 127.0.0.1", NULL, 5000);
    assert_connected(&f, "224.0.0.1 127.0.0.1", "127.0.0.1");
    fixture_clear(&f);
}

/* RFC 8305, 5: an address that does not answer holds up the others for a quarter of a second. */
Test(connector, a_silent_address_is_overtaken_and_remembered)
{
    struct fixture f;
    fixture_init(&f);
    run(&f, "127.0.0.2 127.0.0.1", NULL, 20000);
    assert_connected(&f, "127.0.0.2 127.0.0.1", "127.0.0.1");
    run(&f, "127.0.0.2 127.0.0.1", NULL, 20000);
    assert_connected(&f, "127.0.0.1", "127.0.0.1");
    fixture_clear(&f);
}

Test(connector, a_refusing_address_is_remembered)
{
    struct fixture f;
    fixture_init(&f);
    run(&f, "127.0.0.3 127.0.0.1", NULL, 5000);
    run(&f, "127.0.0.3 127.0.0.1", NULL, 5000);
    assert_connected(&f, "127.0.0.1", "127.0.0.1");
    fixture_clear(&f);
}

Test(connector, the_most_telling_failure_is_told)
{
    struct fixture f;
    fixture_init(&f);
    char expected[64];
    snprintf(expected, sizeof(expected), "127.0.0.3 port %u: Connection refused", f.port);
    run(&f, "127.0.0.3", NULL, 5000);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_REFUSED, expected);
    run(&f, "224.0.0.1 127.0.0.3 224.0.0.2", NULL, 5000);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_REFUSED, expected);
    run(&f, "224.0.0.1 127.0.0.2", NULL, 400);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_TIMEOUT, "127.0.0.2 port ");
    run(&f, "127.0.0.3 127.0.0.2", NULL, 400);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_REFUSED, expected);
    run(&f, "224.0.0.1", NULL, 5000);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_FAILED, "224.0.0.1 port ");
    fixture_clear(&f);
}

Test(connector, names)
{
    struct fixture f;
    fixture_init(&f);
    begin(&f, "fail.test", NULL, 5000);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_failed(&f, SMTP_STEP_DNS, ERR_DNS_FAILED, "fail.test");
    begin(&f, "hang.test", NULL, 100);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_failed(&f, SMTP_STEP_DNS, ERR_DNS_FAILED, "no answer from the resolver");
    begin(&f, "127.0.0.1", NULL, 5000);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_connected(&f, "127.0.0.1", "127.0.0.1");
    fake_dns_let_go();
    fixture_clear(&f);
}

/* One deadline for the name and the addresses together, however many there are. */
Test(connector, one_deadline_for_all)
{
    struct fixture f;
    fixture_init(&f);
    int64_t begun_ms = clock_mono_ms();
    run(&f, "127.0.0.2 127.0.0.2 127.0.0.2 127.0.0.2", NULL, 700);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_TIMEOUT, "no answer");
    cr_assert_geq(clock_mono_ms() - begun_ms, 700);
    fixture_clear(&f);
}

Test(connector, source_address)
{
    struct fixture f;
    fixture_init(&f);
    run(&f, "::1 127.0.0.1", "127.0.0.9", 5000); /* a family that does not fit is left out */
    assert_connected(&f, "127.0.0.1", "127.0.0.1");
    cr_assert_str_eq(f.local, "127.0.0.9");
    run(&f, "127.0.0.1", "203.0.113.9", 5000); /* none of ours */
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_FAILED, "source_address 203.0.113.9");
    run(&f, "127.0.0.1", "::1", 5000);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_FAILED, "source_address ::1");
    run(&f, "127.0.0.1", "nonsense", 5000);
    assert_failed(&f, SMTP_STEP_TCP, ERR_CONNECT_FAILED, "source_address nonsense");
    fixture_clear(&f);
}

static int listen_at_v6(uint16_t port)
{
    const struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 4) == 0)
        return fd;
    close(fd);
    return -1;
}

Test(connector, both_families)
{
    struct fixture f;
    fixture_init(&f);
    int v6 = listen_at_v6(f.port);
    if (v6 < 0) {
        fixture_clear(&f);
        cr_skip_test("no IPv6 here");
    }
    begin(&f, "::1", NULL, 5000);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert_eq(f.n_connected, 1, "%s", f.why.detail);
    cr_assert_str_eq(f.tried, "::1");
    run(&f, "::1 127.0.0.1", NULL, 5000);
    cr_assert_str_eq(f.tried, "::1");
    run(&f, "127.0.0.1 ::1", "::1", 5000);
    cr_assert_str_eq(f.tried, "::1");
    close(v6);
    run(&f, "::1 127.0.0.1", NULL, 5000);
    assert_connected(&f, "::1 127.0.0.1", "127.0.0.1");
    fixture_clear(&f);
}

Test(connector, can_be_given_up_at_any_moment)
{
    struct fixture f;
    fixture_init(&f);
    begin(&f, "hang.test", NULL, 5000);
    connector_cancel(f.connector);
    fake_dns_set("host.test", "127.0.0.2 127.0.0.2");
    begin(&f, "host.test", NULL, 5000);
    connector_cancel(f.connector); /* before the name is there */
    uv_run(&f.loop, UV_RUN_DEFAULT);
    begin(&f, "host.test", NULL, 5000);
    while (f.tried[0] == '\0')
        uv_run(&f.loop, UV_RUN_ONCE);
    connector_cancel(f.connector); /* amid an attempt */
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert_eq(f.n_connected + f.n_failed, 0);
    fake_dns_let_go();
    fixture_clear(&f);
}
