#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "smtp/resolver.h"
#include "tests/unit/support/fake_dns.h"

struct answer {
    int n_told;
    bool found;
    int family, port;
    struct error why;
};

static void on_answer(void *arg, const struct addrinfo *list, const struct error *why)
{
    struct answer *answer = arg;
    answer->n_told++;
    answer->found = list != NULL;
    answer->why = *why;
    if (list == NULL)
        return;
    cr_expect_eq(list->ai_socktype, SOCK_STREAM);
    answer->family = list->ai_family;
    answer->port =
        ntohs(list->ai_family == AF_INET6 ? ((const struct sockaddr_in6 *)list->ai_addr)->sin6_port
                                          : ((const struct sockaddr_in *)list->ai_addr)->sin_port);
}

static struct resolution *ask(uv_loop_t *loop, const char *host, struct answer *answer)
{
    *answer = (struct answer){0};
    struct resolution *resolution = resolver_ask(loop, host, 587, on_answer, answer);
    cr_assert_not_null(resolution);
    cr_assert_eq(answer->n_told, 0, "told before it returned");
    return resolution;
}

static void end(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(loop), 0);
}

Test(resolver, names_and_addresses)
{
    static const struct {
        const char *host;
        bool found;
        int family;
    } rows[] = {
        {"127.0.0.1", true, AF_INET}, {"::1", true, AF_INET6}, {"localhost", true, 0},
        {"a.test", true, AF_INET},    {"fail.test", false, 0}, {"", false, 0},
    };
    uv_loop_t loop;
    struct answer answer;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ask(&loop, rows[i].host, &answer);
        uv_run(&loop, UV_RUN_DEFAULT);
        cr_expect_eq(answer.n_told, 1, "%s", rows[i].host);
        cr_expect_eq(answer.found, rows[i].found, "%s", rows[i].host);
        cr_expect(rows[i].family == 0 || answer.family == rows[i].family, "%s", rows[i].host);
        cr_expect(!rows[i].found || answer.port == 587);
        cr_expect(rows[i].found || answer.why.code == ERR_DNS_FAILED);
        cr_expect(rows[i].found || strstr(answer.why.detail, rows[i].host) != NULL);
    }
    end(&loop);
}

/* faults 128: a resolver that hangs for some names holds up no other. */
Test(resolver, a_name_that_hangs_holds_up_no_other)
{
    enum { HANGING = 40 };
    uv_loop_t loop;
    struct answer answers[HANGING], other;
    char host[32];
    uv_loop_init(&loop);
    for (int i = 0; i < HANGING; i++) {
        snprintf(host, sizeof(host), "%d.hang.test", i);
        ask(&loop, host, &answers[i]);
    }
    fake_dns_wait_until_asked(HANGING);
    ask(&loop, "a.test", &other);
    while (other.n_told == 0)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert(other.found);
    for (int i = 0; i < HANGING; i++)
        cr_assert_eq(answers[i].n_told, 0);
    fake_dns_let_go();
    end(&loop);
    for (int i = 0; i < HANGING; i++)
        cr_assert(answers[i].n_told == 1 && answers[i].found);
}

static void *ask_elsewhere(void *arg)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    ask(&loop, "hang.test", arg);
    fake_dns_wait_until_asked(2); /* something else, asked when all have joined */
    end(&loop);
    return NULL;
}

/* One thread a name, however many want it, on whatever loop. */
Test(resolver, a_name_is_looked_up_once_at_a_time)
{
    enum { WAITING = 20 };
    uv_loop_t loop;
    struct answer answers[WAITING], other, elsewhere;
    pthread_t thread;
    uv_loop_init(&loop);
    for (int i = 0; i < WAITING; i++)
        ask(&loop, "hang.test", &answers[i]);
    fake_dns_wait_until_asked(1);
    pthread_create(&thread, NULL, ask_elsewhere, &elsewhere);
    ask(&loop, "a.test", &other);
    fake_dns_wait_until_asked(2);
    cr_assert_eq(fake_dns_asked(), 2);
    fake_dns_let_go();
    end(&loop);
    pthread_join(thread, NULL);
    for (int i = 0; i < WAITING; i++)
        cr_assert(answers[i].n_told == 1 && answers[i].found);
    cr_assert_eq(elsewhere.n_told, 1);
}

Test(resolver, who_forgets_is_told_nothing)
{
    uv_loop_t loop;
    struct answer forgotten, waiting, at_once;
    uv_loop_init(&loop);
    struct resolution *resolution = ask(&loop, "hang.test", &forgotten);
    ask(&loop, "hang.test", &waiting);
    resolver_forget(resolution);
    resolver_forget(ask(&loop, "127.0.0.1", &at_once));   /* its answer is on its way already */
    resolver_forget(ask(&loop, "x.hang.test", &at_once)); /* the only one who wanted it */
    fake_dns_wait_until_asked(2);
    fake_dns_let_go();
    end(&loop);
    cr_assert_eq(forgotten.n_told, 0);
    cr_assert_eq(at_once.n_told, 0);
    cr_assert_eq(waiting.n_told, 1);
}
