#include "smtp/extensions.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

enum {
    MECHANISM_MAX = 20,   /* octets of a mechanism's name: RFC 4422, 3.1 */
    LIMIT_DIGITS_MAX = 6, /* RFC 9422, 4 */
    SIZE_DIGITS_MAX = 19, /* RFC 1870 allows 20; 19 always fit into 64 bits */
};

/* "AUTH=LOGIN" is how servers wrote it before RFC 2554, and many still do beside "AUTH"; by hand
 * "SIZE=1000000" and "SIZE: 1000000" are made as well. */
#define SEPARATORS " \t=:"
#define AUTH_SEPARATORS SEPARATORS ","

struct word { /* a piece of the text, not NUL-terminated */
    const char *s;
    size_t len;
};

/* The next word of a line, which is moved behind it; its length is 0 at the end. */
static struct word next_word(struct word *line, const char *separators)
{
    size_t skip = 0;
    while (skip < line->len && strchr(separators, line->s[skip]) != NULL)
        skip++;
    struct word word = {line->s + skip, 0};
    while (skip + word.len < line->len && strchr(separators, word.s[word.len]) == NULL)
        word.len++;
    line->s += skip + word.len;
    line->len -= skip + word.len;
    return word;
}

static bool word_is(struct word word, const char *keyword)
{
    return word.len == strlen(keyword) && strncasecmp(word.s, keyword, word.len) == 0;
}

/* False, and `*out` as it was, for anything but a plain number of at most `max_digits`. */
static bool word_number(struct word word, size_t max_digits, uint64_t *out)
{
    uint64_t n = 0;
    if (word.len == 0 || word.len > max_digits)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (!isdigit((unsigned char)word.s[i]))
            return false;
        n = 10 * n + (uint64_t)(word.s[i] - '0');
    }
    *out = n;
    return true;
}

/* Where `mechanism` stands in the list, or -1. */
static ptrdiff_t find_auth(const struct smtp_extensions *extensions, struct word mechanism)
{
    struct word list = {extensions->auth, strlen(extensions->auth)}, word;
    while ((word = next_word(&list, " ")).len > 0)
        if (word.len == mechanism.len && strncasecmp(word.s, mechanism.s, word.len) == 0)
            return word.s - extensions->auth;
    return -1;
}

static bool is_mechanism(struct word word) /* RFC 4422, 3.1 */
{
    for (size_t i = 0; i < word.len; i++)
        if (!isalnum((unsigned char)word.s[i]) && word.s[i] != '-' && word.s[i] != '_')
            return false;
    return word.len > 0 && word.len <= MECHANISM_MAX;
}

static void add_auth(struct smtp_extensions *extensions, struct word mechanism)
{
    size_t len = strlen(extensions->auth);
    if (!is_mechanism(mechanism) || find_auth(extensions, mechanism) >= 0 ||
        len + 1 + mechanism.len >= sizeof(extensions->auth))
        return;
    if (len > 0)
        extensions->auth[len++] = ' ';
    for (size_t i = 0; i < mechanism.len; i++)
        extensions->auth[len++] = (char)toupper((unsigned char)mechanism.s[i]);
    extensions->auth[len] = '\0';
}

static void parse_auth(struct smtp_extensions *extensions, struct word parameters)
{
    struct word mechanism;
    while ((mechanism = next_word(&parameters, AUTH_SEPARATORS)).len > 0)
        add_auth(extensions, mechanism);
}

static void parse_size(struct smtp_extensions *extensions, struct word parameters)
{
    struct word size = next_word(&parameters, SEPARATORS);
    extensions->has_size = size.len == 0 || word_number(size, SIZE_DIGITS_MAX, &extensions->size);
}

/* "LIMITS MAILMAX=2 RCPTMAX=5"; a limit of zero would mean no mail at all and is ignored. */
static void parse_limits(struct smtp_extensions *extensions, struct word parameters)
{
    struct word limit;
    while ((limit = next_word(&parameters, " \t,")).len > 0) {
        struct word name = next_word(&limit, "="), value = next_word(&limit, "=");
        if (word_is(name, "MAILMAX"))
            word_number(value, LIMIT_DIGITS_MAX, &extensions->mail_max);
        else if (word_is(name, "RCPTMAX"))
            word_number(value, LIMIT_DIGITS_MAX, &extensions->rcpt_max);
    }
}

static void parse_line(struct smtp_extensions *extensions, struct word line)
{
    const struct {
        const char *keyword;
        bool *flag;
    } flags[] = {
        {"PIPELINING", &extensions->pipelining},
        {"CHUNKING", &extensions->chunking},
        {"8BITMIME", &extensions->eightbitmime},
        {"SMTPUTF8", &extensions->smtputf8},
        {"DSN", &extensions->dsn},
        {"STARTTLS", &extensions->starttls},
        {"REQUIRETLS", &extensions->requiretls},
        {"ENHANCEDSTATUSCODES", &extensions->enhanced_codes},
    };
    struct word keyword = next_word(&line, SEPARATORS);
    if (word_is(keyword, "AUTH"))
        parse_auth(extensions, line);
    else if (word_is(keyword, "SIZE"))
        parse_size(extensions, line);
    else if (word_is(keyword, "LIMITS"))
        parse_limits(extensions, line);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (word_is(keyword, flags[i].keyword))
            *flags[i].flag = true;
}

void smtp_extensions_parse(const char *text, struct smtp_extensions *out)
{
    *out = (struct smtp_extensions){0};
    for (const char *lf = strchr(text, '\n'); lf != NULL; lf = strchr(lf + 1, '\n'))
        parse_line(out, (struct word){lf + 1, strcspn(lf + 1, "\n")});
}

void smtp_extensions_leave_out(struct smtp_extensions *e, unsigned without)
{
    e->chunking &= (without & SMTP_EXTENSION_CHUNKING) == 0;
    e->pipelining &= (without & SMTP_EXTENSION_PIPELINING) == 0;
    e->smtputf8 &= (without & SMTP_EXTENSION_SMTPUTF8) == 0;
    e->eightbitmime &= (without & SMTP_EXTENSION_8BITMIME) == 0;
    e->dsn &= (without & SMTP_EXTENSION_DSN) == 0;
    if (without & SMTP_EXTENSION_SIZE) {
        e->has_size = false;
        e->size = 0;
    }
}

/* --- what does not work ------------------------------------------------------------------- */

static void extensions_text(unsigned extensions, char *out, size_t size)
{
    struct smtp_extensions all = {.pipelining = true,
                                  .chunking = true,
                                  .eightbitmime = true,
                                  .smtputf8 = true,
                                  .dsn = true,
                                  .has_size = true};
    smtp_extensions_leave_out(&all, ~extensions);
    smtp_extensions_describe(&all, out, size);
}

void smtp_distrust_note(struct smtp_distrust *distrust, unsigned extensions, const char *why)
{
    char text[128];
    if (distrust == NULL)
        return;
    unsigned news = extensions & ~atomic_fetch_or(&distrust->off, extensions);
    if (news == 0)
        return;
    extensions_text(news, text, sizeof(text));
    log_warn("the relay offers what it does not do: it is not used any more",
             LOG_STR("relay", distrust->relay), LOG_STR("extension", text), LOG_STR("reply", why),
             LOG_STR("hint", "name it in without: to leave it out from the start"));
}

void smtp_distrust_note_end(struct smtp_distrust *distrust, unsigned extensions)
{
    if (distrust == NULL)
        return;
    extensions &= ~atomic_load(&distrust->works);
    unsigned again = extensions & atomic_fetch_or(&distrust->lost, extensions);
    atomic_fetch_or(&distrust->once, extensions & ~again);
    if (again != 0)
        smtp_distrust_note(distrust, again, "connections end where it is used");
}

void smtp_distrust_note_success(struct smtp_distrust *distrust, unsigned extensions)
{
    if (distrust != NULL && (atomic_load(&distrust->works) & extensions) != extensions)
        atomic_fetch_or(&distrust->works, extensions);
}

bool smtp_distrust_knows(struct smtp_distrust *distrust, unsigned extensions)
{
    return distrust != NULL && (atomic_load(&distrust->works) & extensions) == extensions;
}

unsigned smtp_distrust_now(struct smtp_distrust *distrust)
{
    return distrust != NULL ? atomic_load(&distrust->off) : 0;
}

unsigned smtp_distrust_begin(struct smtp_distrust *distrust)
{
    return distrust != NULL ? smtp_distrust_now(distrust) | atomic_exchange(&distrust->once, 0) : 0;
}

bool smtp_extensions_offer_auth(const struct smtp_extensions *extensions, const char *mechanism)
{
    return find_auth(extensions, (struct word){mechanism, strlen(mechanism)}) >= 0;
}

void smtp_extensions_drop_auth(struct smtp_extensions *extensions, const char *mechanism)
{
    size_t len = strlen(mechanism);
    ptrdiff_t at = find_auth(extensions, (struct word){mechanism, len});
    if (at < 0)
        return;
    char *from = extensions->auth + at, *rest = from + len;
    if (*rest == ' ')
        rest++;
    else if (at > 0)
        from--; /* it was the last: the space before it goes */
    memmove(from, rest, strlen(rest) + 1);
}

static void describe(char *out, size_t size, const char *keyword, const char *equals,
                     uint64_t value)
{
    size_t len = strlen(out);
    snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "", keyword);
    len = strlen(out);
    if (value > 0)
        snprintf(out + len, size - len, "%s%" PRIu64, equals, value);
}

void smtp_extensions_describe(const struct smtp_extensions *e, char *out, size_t size)
{
    const struct {
        bool offered;
        const char *keyword, *equals;
        uint64_t value;
    } all[] = {
        {e->pipelining, "PIPELINING"},
        {e->chunking, "CHUNKING"},
        {e->has_size, "SIZE", " ", e->size},
        {e->eightbitmime, "8BITMIME"},
        {e->smtputf8, "SMTPUTF8"},
        {e->dsn, "DSN"},
        {e->starttls, "STARTTLS"},
        {e->requiretls, "REQUIRETLS"},
        {e->enhanced_codes, "ENHANCEDSTATUSCODES"},
        {e->mail_max > 0, "LIMITS MAILMAX", "=", e->mail_max},
        {e->rcpt_max > 0, "LIMITS RCPTMAX", "=", e->rcpt_max},
    };
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].offered)
            describe(out, size, all[i].keyword, all[i].equals, all[i].value);
}
