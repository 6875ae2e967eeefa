#include "config/service.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/nearest.h"

/* TLS from the first octet, STARTTLS, no TLS. */
#define I CONFIG_TLS_IMPLICIT
#define S CONFIG_TLS_STARTTLS
#define N CONFIG_TLS_NONE

/*
 * Limits are those that are published for one account; where they depend on the plan or on the
 * account there is none. A user name stands here where it is the same for everybody.
 */
const struct service services[] = {
    /* mailboxes */
    {{"gmail", "google", "googlemail"},
     "smtp.gmail.com",
     {{465, I}, {587, S}},
     true,
     "rate.messages=500/d max_recipients=100"},
    {{"workspace", "googleworkspace", "gsuite"},
     "smtp.gmail.com",
     {{465, I}, {587, S}},
     true,
     "rate.messages=2000/d rate.recipients=10000/d max_recipients=100"},
    {{"workspace-relay", "gmail-relay"},
     "smtp-relay.gmail.com",
     {{465, I}, {587, S}},
     true,
     "rate.recipients=10000/d max_recipients=100"},
    {{"office365", "microsoft365", "outlook365", "m365", "exchange-online"},
     "smtp.office365.com",
     {{587, S}},
     true,
     "connections.max=3 rate.messages=30/m rate.recipients=10000/d max_recipients=500"},
    {{"outlook", "outlook.com", "hotmail", "live"}, "smtp-mail.outlook.com", {{587, S}}, true, ""},
    {{"yahoo"},
     "smtp.mail.yahoo.com",
     {{465, I}},
     true,
     "connections.max_messages=20 rate.recipients=500/d max_recipients=100"},
    {{"aol"}, "smtp.aol.com", {{587, S}}, true, ""},
    {{"icloud", "me", "mac"},
     "smtp.mail.me.com",
     {{587, S}},
     false,
     "rate.messages=1000/d rate.recipients=1000/d max_recipients=500"},
    {{"fastmail"}, "smtp.fastmail.com", {{465, I}}, true, ""},
    {{"zoho"}, "smtp.zoho.com", {{465, I}}, false, "auth.mechanism=login"},
    {{"gmx"}, "mail.gmx.com", {{587, S}}, false, ""},
    {{"1und1", "1&1"}, "smtp.1und1.de", {{465, I}}, false, "auth.mechanism=login"},
    {{"yandex"}, "smtp.yandex.ru", {{465, I}}, true, ""},
    {{"mail.ru", "mailru"}, "smtp.mail.ru", {{465, I}}, true, ""},
    {{"qq"}, "smtp.qq.com", {{465, I}}, false, ""},
    {{"exmail", "qqex"}, "smtp.exmail.qq.com", {{465, I}}, false, ""},
    {{"163"}, "smtp.163.com", {{465, I}}, false, ""},
    {{"126"}, "smtp.126.com", {{465, I}}, false, ""},
    {{"aliyun"}, "smtp.aliyun.com", {{465, I}}, false, ""},
    {{"feishu"}, "smtp.feishu.cn", {{465, I}}, false, ""},
    {{"naver"}, "smtp.naver.com", {{587, S}}, false, ""},
    {{"proton", "protonmail"}, "smtp.protonmail.ch", {{587, S}}, false, ""},
    {{"infomaniak"}, "mail.infomaniak.com", {{587, S}}, false, ""},
    {{"gandi", "gandimail"}, "mail.gandi.net", {{587, S}}, false, ""},
    {{"runbox"}, "smtp.runbox.com", {{465, I}}, false, ""},
    {{"one.com", "one"}, "send.one.com", {{465, I}}, false, ""},
    {{"seznam"}, "smtp.seznam.cz", {{465, I}}, false, ""},
    {{"forwardemail"}, "smtp.forwardemail.net", {{465, I}}, false, ""},
    /* senders */
    {{"sendgrid"},
     "smtp.sendgrid.net",
     {{587, S}, {465, I}, {2525, S}},
     false,
     "auth.username=apikey"},
    {{"mailgun"}, "smtp.mailgun.org", {{465, I}, {587, S}}, false, ""},
    {{"mailgun-eu"}, "smtp.eu.mailgun.org", {{465, I}, {587, S}}, false, ""},
    {{"postmark"}, "smtp.postmarkapp.com", {{587, S}, {2525, S}}, false, "max_recipients=50"},
    {{"ses", "amazonses", "aws-ses"},
     "email-smtp.{region}.amazonaws.com",
     {{465, I}, {587, S}, {2465, I}, {2587, S}},
     false,
     "connections.idle=8s max_recipients=50"}, /* it closes after about 10 s without a word */
    {{"resend"},
     "smtp.resend.com",
     {{465, I}, {587, S}, {2465, I}, {2587, S}},
     false,
     "auth.username=resend rate.messages=10/s max_recipients=50"},
    {{"brevo", "sendinblue"}, "smtp-relay.brevo.com", {{587, S}}, false, ""},
    {{"mailjet"}, "in.mailjet.com", {{587, S}}, false, ""},
    {{"mandrill", "mailchimp"}, "smtp.mandrillapp.com", {{587, S}}, false, ""},
    {{"sparkpost"}, "smtp.sparkpostmail.com", {{587, S}}, false, ""},
    {{"smtp2go"}, "mail.smtp2go.com", {{2525, S}}, false, ""},
    {{"mailersend"}, "smtp.mailersend.net", {{587, S}}, false, ""},
    {{"elasticemail"}, "smtp.elasticemail.com", {{465, I}}, false, ""},
    {{"mailtrap"}, "live.smtp.mailtrap.io", {{587, S}}, false, ""},
    {{"loops"}, "smtp.loops.so", {{587, S}}, false, ""},
    {{"cloudflare"},
     "smtp.mx.cloudflare.net",
     {{465, I}},
     false,
     "auth.username=api_token max_recipients=50"},
    /* for tests */
    {{"ethereal"}, "smtp.ethereal.email", {{587, S}}, false, ""},
    {{"mailpit", "maildev"}, "localhost", {{1025, N}}, false, ""},
};
const size_t n_services = sizeof(services) / sizeof(services[0]);

static bool is_name(const char *name, const char *word, size_t len)
{
    return strlen(name) == len && strncasecmp(name, word, len) == 0;
}

const struct service *service_find(const char *word)
{
    for (size_t i = 0; i < n_services; i++)
        for (const char *const *name = services[i].names; *name != NULL; name++)
            if (is_name(*name, word, strcspn(word, ":")))
                return &services[i];
    return NULL;
}

const char *service_nearest(const char *word)
{
    char lower[NEAREST_WORD_MAX + 1];
    struct nearest nearest;
    size_t n = strcspn(word, ":");
    if (n >= sizeof(lower))
        return NULL;
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)(word[i] >= 'A' && word[i] <= 'Z' ? word[i] | 32 : word[i]);
    lower[n] = '\0';
    nearest_init(&nearest, lower);
    for (size_t i = 0; i < n_services; i++)
        for (const char *const *name = services[i].names; *name != NULL; name++)
            nearest_offer(&nearest, *name);
    return nearest.word;
}

const char *service_region(const char *word)
{
    const char *colon = strchr(word, ':');
    return colon != NULL ? colon + 1 : NULL;
}

bool service_has_regions(const struct service *service)
{
    return strstr(service->host, "{region}") != NULL;
}

const struct service_port *service_port(const struct service *service, uint16_t port,
                                        enum config_tls tls)
{
    for (const struct service_port *known = service->ports; known->port != 0; known++)
        if ((port == 0 || known->port == port) && (tls == CONFIG_TLS_AUTO || known->tls == tls))
            return known;
    return NULL;
}
