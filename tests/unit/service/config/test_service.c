#include "config/service.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/check.h"
#include "config/decode.h"

enum { SERVICES_AT_LEAST = 40 };

Test(service, there_are_enough_of_them)
{
    cr_expect_geq(n_services, (size_t)SERVICES_AT_LEAST);
}

static bool is_host(const char *host)
{
    size_t n = strlen(host);
    return n > 0 && host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-{}")] == '\0' &&
           host[0] != '.' && host[n - 1] != '.';
}

/* What the world's ports mean. */
static bool fits(const struct service_port *port)
{
    switch (port->port) {
    case 465:
    case 2465:
        return port->tls == CONFIG_TLS_IMPLICIT;
    case 587:
    case 2587:
    case 2525:
        return port->tls == CONFIG_TLS_STARTTLS;
    default:
        return port->tls == CONFIG_TLS_NONE;
    }
}

Test(service, each_row_is_sane)
{
    for (size_t i = 0; i < n_services; i++) {
        const struct service *service = &services[i];
        const char *name = service->names[0];
        cr_assert_not_null(name, "row %zu", i);
        cr_expect(is_host(service->host), "%s: %s", name, service->host);
        cr_expect(strchr(service->host, '.') != NULL || strcmp(service->host, "localhost") == 0,
                  "%s", name);
        cr_expect_neq(service->ports[0].port, 0, "%s", name);
        cr_expect_eq(service->ports[SERVICE_PORTS_MAX].port, 0, "%s", name);
        cr_expect_null(service->names[SERVICE_NAMES_MAX], "%s", name);
        for (const struct service_port *port = service->ports; port->port != 0; port++) {
            cr_expect(fits(port), "%s: %u", name, port->port);
            cr_expect_eq(service_port(service, port->port, CONFIG_TLS_AUTO), port, "%s: %u", name,
                         port->port);
        }
    }
}

Test(service, each_name_is_one_service_s_and_can_be_written)
{
    for (size_t i = 0; i < n_services; i++)
        for (const char *const *name = services[i].names; *name != NULL; name++) {
            cr_expect_eq(service_find(*name), &services[i], "%s", *name);
            cr_expect_eq((*name)[strspn(*name, "abcdefghijklmnopqrstuvwxyz0123456789.-&")], '\0',
                         "%s", *name);
        }
}

/* What a row fills in is taken as if it were written: with a login each is a whole relay. */
Test(service, each_is_a_relay)
{
    static const char *const environment[] = {NULL};
    for (size_t i = 0; i < n_services; i++) {
        CLEANUP(error_list_clear) struct error_list errors = {0};
        struct arena *arena = arena_new();
        struct config *config = arena_alloc(arena, sizeof(*config));
        config->arena = arena;
        char word[64];
        snprintf(word, sizeof(word), "%s%s", services[i].names[0],
                 service_has_regions(&services[i]) ? ":us-east-1" : "");
        json_t *tree = json_pack("{s:[{s:s, s:{s:s, s:s}}]}", "relays", "service", word, "auth",
                                 "username", "u", "password", "p");
        struct decoder decoder = {.arena = arena, .errors = &errors, .environ_ = environment};
        decode_config(&decoder, tree, config);
        cr_assert_eq(errors.n_total, 0, "%s: %s", word,
                     errors.n_total > 0 ? errors.items[0].detail : "");
        config_check(config, &errors);
        cr_expect_eq(errors.n_total, 0, "%s: %s", word,
                     errors.n_total > 0 ? errors.items[0].detail : "");
        const struct config_relay *relay = &config->relays[0];
        cr_expect(is_host(relay->host) && strchr(relay->host, '{') == NULL, "%s", relay->host);
        cr_expect_eq(relay->port, services[i].ports[0].port, "%s", word);
        cr_expect_eq(relay->tls, services[i].ports[0].tls, "%s", word);
        json_decref(tree);
        config_free(config);
    }
}

/* Section 5 of what is known of providers, and names people bring along from other libraries. */
Test(service, those_people_ask_for)
{
    static const struct {
        const char *word, *host;
        uint16_t port;
        bool oauth;
    } rows[] = {
        {"gmail", "smtp.gmail.com", 465, true},
        {"google", "smtp.gmail.com", 465, true},
        {"Gmail", "smtp.gmail.com", 465, true},
        {"workspace-relay", "smtp-relay.gmail.com", 465, true},
        {"office365", "smtp.office365.com", 587, true},
        {"Office365", "smtp.office365.com", 587, true},
        {"microsoft365", "smtp.office365.com", 587, true},
        {"outlook365", "smtp.office365.com", 587, true},
        {"outlook", "smtp-mail.outlook.com", 587, true},
        {"Hotmail", "smtp-mail.outlook.com", 587, true},
        {"yahoo", "smtp.mail.yahoo.com", 465, true},
        {"aol", "smtp.aol.com", 587, true},
        {"icloud", "smtp.mail.me.com", 587, false},
        {"fastmail", "smtp.fastmail.com", 465, true},
        {"zoho", "smtp.zoho.com", 465, false},
        {"1und1", "smtp.1und1.de", 465, false},
        {"yandex", "smtp.yandex.ru", 465, true},
        {"mail.ru", "smtp.mail.ru", 465, true},
        {"163", "smtp.163.com", 465, false},
        {"sendgrid", "smtp.sendgrid.net", 587, false},
        {"mailgun", "smtp.mailgun.org", 465, false},
        {"mailgun-eu", "smtp.eu.mailgun.org", 465, false},
        {"postmark", "smtp.postmarkapp.com", 587, false},
        {"ses:eu-west-1", "email-smtp.{region}.amazonaws.com", 465, false},
        {"SES:", "email-smtp.{region}.amazonaws.com", 465, false},
        {"resend", "smtp.resend.com", 465, false},
        {"SendinBlue", "smtp-relay.brevo.com", 587, false},
        {"cloudflare", "smtp.mx.cloudflare.net", 465, false},
        {"mailpit", "localhost", 1025, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct service *service = service_find(rows[i].word);
        cr_assert_not_null(service, "%s", rows[i].word);
        cr_expect_str_eq(service->host, rows[i].host);
        cr_expect_eq(service->ports[0].port, rows[i].port, "%s", rows[i].word);
        cr_expect_eq(service->oauth, rows[i].oauth, "%s", rows[i].word);
    }
    static const char *const unknown[] = {"", ":", "gmail.", "gmai", "gmail ", "office", "se"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        cr_expect_null(service_find(unknown[i]), "%s", unknown[i]);
}

Test(service, the_nearest)
{
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"gmial", "gmail"},
        {"Ofice365", "office365"},
        {"sengrid", "sendgrid"},
        {"ses1:eu-west-1", "ses"},
        {"mailgun_eu", "mailgun-eu"},
        {"postmarkapp", NULL},
        {"a-word-longer-than-any-name-of-a-service", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *nearest = service_nearest(rows[i].word);
        cr_expect((nearest == NULL) == (rows[i].nearest == NULL), "%s", rows[i].word);
        if (nearest != NULL && rows[i].nearest != NULL)
            cr_expect_str_eq(nearest, rows[i].nearest);
    }
}

Test(service, ports_by_what_is_said)
{
    const struct service *sendgrid = service_find("sendgrid"), *zoho = service_find("zoho");
    cr_expect_eq(service_port(sendgrid, 0, CONFIG_TLS_AUTO)->port, 587);
    cr_expect_eq(service_port(sendgrid, 0, CONFIG_TLS_IMPLICIT)->port, 465);
    cr_expect_eq(service_port(sendgrid, 2525, CONFIG_TLS_AUTO)->tls, CONFIG_TLS_STARTTLS);
    cr_expect_null(service_port(sendgrid, 2525, CONFIG_TLS_IMPLICIT));
    cr_expect_null(service_port(sendgrid, 26, CONFIG_TLS_AUTO));
    cr_expect_null(service_port(zoho, 0, CONFIG_TLS_STARTTLS));
}
