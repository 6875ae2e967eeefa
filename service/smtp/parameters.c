#include "smtp/parameters.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "message/text.h"

enum {
    ENVID_MAX = 100, /* octets: RFC 3461, 4.4 */
    ORCPT_MAX = 500, /* octets: RFC 3461, 4.2 */
    SLACK = 8,       /* so that what is a little too long is seen to be */
};

static bool is_said(const char *s)
{
    return s != NULL && s[0] != '\0';
}

bool smtp_dsn_is_asked(const struct mail_dsn *dsn)
{
    return is_said(dsn->notify) || is_said(dsn->ret) || is_said(dsn->envid);
}

/* Stands in a parameter as it is: RFC 3461, 4. */
static bool is_xchar(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

/* xtext. False, and `out` is of no use, if it is longer than `size` allows. */
static bool write_xtext(const char *s, char *out, size_t size)
{
    size_t len = 0;
    for (; *s != '\0'; s++) {
        if (len + 4 > size)
            return false;
        if (is_xchar((unsigned char)*s))
            out[len++] = *s;
        else
            len += (size_t)snprintf(out + len, 4, "+%02X", (unsigned)(unsigned char)*s);
    }
    out[len] = '\0';
    return true;
}

/* The utf-8 address type where SMTPUTF8 is offered: UTF-8 as it is, and what cannot stand in a
 * parameter as \x{HEX} (RFC 6533, 3). */
static bool write_utf8_address(const char *s, char *out, size_t size)
{
    size_t len = 0;
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (len + 8 > size)
            return false;
        if (c >= 0x80 || (is_xchar(c) && c != '\\'))
            out[len++] = *s;
        else
            len += (size_t)snprintf(out + len, 8, "\\x{%02X}", (unsigned)c);
    }
    out[len] = '\0';
    return true;
}

/* NEVER alone, or words of which each stands at most once, or no server would take the command. */
static bool is_notify(const char *notify)
{
    static const char *const words[] = {"SUCCESS", "FAILURE", "DELAY"};
    unsigned seen = 0;
    if (strcmp(notify, "NEVER") == 0)
        return true;
    for (size_t n;; notify += n + 1) {
        n = strcspn(notify, ",");
        size_t i = 0;
        while (i < 3 && (strlen(words[i]) != n || memcmp(words[i], notify, n) != 0))
            i++;
        if (i == 3 || (seen & 1U << i) != 0)
            return false;
        seen |= 1U << i;
        if (notify[n] == '\0')
            return true;
    }
}

static bool is_ret(const char *ret)
{
    return strcmp(ret, "FULL") == 0 || strcmp(ret, "HDRS") == 0;
}

/* What is written has its limits, and all together have room: an overflow would be our mistake. */
__attribute__((format(printf, 2, 3))) static void add(char *out, const char *format, ...)
{
    size_t len = strlen(out);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + len, SMTP_PARAMETERS_SIZE - len, format, args);
    va_end(args);
    assert(n > 0 && (size_t)n < SMTP_PARAMETERS_SIZE - len);
}

static bool is_printable(const char *s)
{
    while (*s >= ' ' && *s < 0x7f)
        s++;
    return *s == '\0';
}

static void add_envid(const char *envid, char *out)
{
    char xtext[ENVID_MAX + SLACK];
    if (is_said(envid) && is_printable(envid) && write_xtext(envid, xtext, sizeof(xtext)) &&
        strlen(xtext) <= ENVID_MAX)
        add(out, " ENVID=%s", xtext);
}

/* The recipient as we have it is the one the sender meant. */
static void add_orcpt(const char *address, char *out)
{
    char text[ORCPT_MAX + SLACK];
    bool ascii = text_is_ascii(address, strlen(address));
    bool written = ascii ? write_xtext(address, text, sizeof(text))
                         : write_utf8_address(address, text, sizeof(text));
    if (written && strlen("rfc822;") + strlen(text) <= ORCPT_MAX)
        add(out, " ORCPT=%s;%s", ascii ? "rfc822" : "utf-8", text);
}

void smtp_mail_parameters(const struct smtp_tx *tx, const struct smtp_extensions *extensions,
                          char out[SMTP_PARAMETERS_SIZE])
{
    const struct smtp_envelope *envelope = &tx->envelope;
    out[0] = '\0';
    if (extensions->has_size)
        add(out, " SIZE=%zu", envelope->content_len);
    if (tx->utf8)
        add(out, " SMTPUTF8");
    if ((tx->utf8 || tx->eightbit) && extensions->eightbitmime)
        add(out, " BODY=8BITMIME");
    if (envelope->require_tls) /* or it would have been refused */
        add(out, " REQUIRETLS");
    if (!extensions->dsn)
        return;
    if (is_said(envelope->dsn.ret) && is_ret(envelope->dsn.ret))
        add(out, " RET=%s", envelope->dsn.ret);
    add_envid(envelope->dsn.envid, out);
}

void smtp_rcpt_parameters(const struct smtp_tx *tx, size_t rcpt,
                          const struct smtp_extensions *extensions, char out[SMTP_PARAMETERS_SIZE])
{
    const struct mail_dsn *dsn = &tx->envelope.dsn;
    out[0] = '\0';
    if (!extensions->dsn || !smtp_dsn_is_asked(dsn))
        return;
    if (is_said(dsn->notify) && is_notify(dsn->notify))
        add(out, " NOTIFY=%s", dsn->notify);
    add_orcpt(tx->envelope.recipients[rcpt], out);
}
