#include "message/address.h"

#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "message/text.h"

enum { LOCAL_MAX = 64, DOMAIN_MAX = 255, LABEL_MAX = 63, PATH_MAX_OCTETS = 254 };

static int bad(struct error *err, const char *why)
{
    return error_set(err, ERR_INVALID, "%s", why);
}

/* RFC 5322, 3.2.3, with UTF-8 as RFC 6531 has it. */
static bool is_atext(unsigned char c)
{
    return c >= 0x80 || (c > ' ' && c < 0x7f && strchr("()<>[]:;@\\,.\"", c) == NULL);
}

static size_t atom_len(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && is_atext((unsigned char)s[n]))
        n++;
    return n;
}

/* dot-atom; 0: none begins here */
static size_t dot_atom_len(const char *s, size_t len)
{
    size_t n = atom_len(s, len);
    while (n > 0 && n + 1 < len && s[n] == '.') {
        size_t more = atom_len(s + n + 1, len - n - 1);
        if (more == 0)
            break;
        n += 1 + more;
    }
    return n;
}

/* A quoted string with its quotes; 0: it does not end. */
static size_t quoted_len(const char *s, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (s[i] == '"')
            return i + 1;
        if (s[i] == '\\' && ++i == len)
            return 0;
    }
    return 0;
}

/* --- parts -------------------------------------------------------------------------------- */

static const char *unquote(struct arena *arena, const char *s, size_t len)
{
    char *out = arena_alloc(arena, len);
    size_t n = 0;
    if (out == NULL)
        return NULL;
    for (size_t i = 1; i + 1 < len; i++) {
        if (s[i] == '\\')
            i++;
        out[n++] = s[i];
    }
    return out;
}

/* The local part as it goes on the wire: quoted only where it must be. */
static int set_local(struct arena *arena, const char *s, size_t len, struct address *out,
                     struct error *err)
{
    if (len == 0)
        return bad(err, "nothing before the @");
    if (len > LOCAL_MAX)
        return bad(err, "more than 64 octets before the @");
    if (s[0] == '"') {
        if (quoted_len(s, len) != len || len == 2)
            return bad(err, "the quotes before the @ do not fit");
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)s[i] >= 0x80 || s[i] == ' ')
                return bad(err, "a quoted part before the @ may hold only printable ASCII");
    } else if (dot_atom_len(s, len) != len) {
        return bad(err, "characters before the @ that an address cannot hold");
    }
    for (size_t i = 0; i < len; i++)
        out->utf8_local = out->utf8_local || (unsigned char)s[i] >= 0x80;
    out->local = arena_strndup(arena, s, len);
    return out->local != NULL ? 0 : error_set(err, ERR_NOMEM, "address");
}

static int check_labels(const char *domain, struct error *err)
{
    size_t total = strlen(domain);
    if (total > DOMAIN_MAX)
        return bad(err, "the domain is too long");
    for (const char *label = domain;; label++) {
        size_t n = strcspn(label, ".");
        if (n == 0)
            return bad(err, "the domain has an empty label");
        if (n > LABEL_MAX)
            return bad(err, "the domain has a label of more than 63 octets");
        if (label[0] == '-' || label[n - 1] == '-' ||
            strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") < n)
            return bad(err, "the domain holds characters that a domain cannot hold");
        label += n;
        if (*label == '\0')
            return 0;
    }
}

/* IDNA 2008 (non-transitional), lower case. */
static int set_domain(struct arena *arena, const char *s, size_t len, struct address *out,
                      struct error *err)
{
    if (len == 0)
        return bad(err, "nothing behind the @");
    if (s[0] == '[')
        return bad(err, "address literals are not taken");
    if (len > DOMAIN_MAX || memchr(s, '@', len) != NULL)
        return bad(err, len > DOMAIN_MAX ? "the domain is too long" : "more than one @");
    char *copy = arena_strndup(arena, s, len), *ascii = NULL;
    if (copy == NULL)
        return error_set(err, ERR_NOMEM, "address");
    bool utf8 = false;
    for (size_t i = 0; i < len; i++) {
        utf8 = utf8 || (unsigned char)copy[i] >= 0x80;
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + 32);
    }
    if (utf8) {
        int rc = idn2_to_ascii_8z(copy, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
        if (rc != IDN2_OK)
            return error_set(err, ERR_INVALID, "not an internationalized domain: %s",
                             idn2_strerror(rc));
        copy = arena_strdup(arena, ascii);
        idn2_free(ascii);
        if (copy == NULL)
            return error_set(err, ERR_NOMEM, "address");
    }
    out->domain = copy;
    return check_labels(copy, err);
}

static int set_email(struct arena *arena, const char *s, size_t len, struct address *out,
                     struct error *err)
{
    size_t local = len > 0 && s[0] == '"' ? quoted_len(s, len) : 0;
    const char *at = memchr(s + local, '@', len - local);
    if (at == NULL)
        return bad(err, "there is no @ in it");
    local = (size_t)(at - s);
    if (set_local(arena, s, local, out, err) < 0 ||
        set_domain(arena, at + 1, len - local - 1, out, err) < 0)
        return -1;
    if (strlen(out->local) + 1 + strlen(out->domain) > PATH_MAX_OCTETS)
        return bad(err, "the address is too long");
    out->email = arena_printf(arena, "%s@%s", out->local, out->domain);
    return out->email != NULL ? 0 : error_set(err, ERR_NOMEM, "address");
}

/* --- whole -------------------------------------------------------------------------------- */

static int set_name(struct arena *arena, const char *s, size_t len, struct address *out,
                    struct error *err)
{
    while (len > 0 && s[len - 1] == ' ')
        len--;
    if (len == 0)
        return 0;
    if (s[0] == '"' && quoted_len(s, len) == len)
        out->name = unquote(arena, s, len);
    else if (memchr(s, '"', len) != NULL || memchr(s, ',', len) != NULL ||
             memchr(s, '(', len) != NULL || memchr(s, '>', len) != NULL ||
             memchr(s, ':', len) != NULL || memchr(s, ';', len) != NULL ||
             memchr(s, '@', len) != NULL)
        return bad(err, "one mailbox is wanted; a name with , : ; ( @ or quotes in it stands in "
                        "double quotes, or in {name, email}");
    else
        out->name = arena_strndup(arena, s, len);
    return out->name != NULL ? 0 : error_set(err, ERR_NOMEM, "address");
}

static int check_text(const char *s, size_t len, struct error *err)
{
    const char *why = text_header_fault(s, len);
    return why == NULL ? 0 : bad(err, why);
}

int address_parse(struct arena *arena, const char *text, size_t len, struct address *out,
                  struct error *err)
{
    struct address address = {0};
    if (check_text(text, len, err) < 0)
        return -1;
    while (len > 0 && *text == ' ')
        text++, len--;
    while (len > 0 && text[len - 1] == ' ')
        len--;
    if (len == 0)
        return bad(err, "an address is wanted, this is empty");
    if (text[len - 1] == '>') {
        const char *open = memrchr(text, '<', len);
        if (open == NULL)
            return bad(err, "> without <");
        if (set_name(arena, text, (size_t)(open - text), &address, err) < 0)
            return -1;
        len -= (size_t)(open - text) + 2;
        text = open + 1;
    }
    if (set_email(arena, text, len, &address, err) < 0)
        return -1;
    *out = address;
    return 0;
}

int address_from_parts(struct arena *arena, const char *name, size_t name_len, const char *email,
                       size_t email_len, struct address *out, struct error *err)
{
    struct address address = {0};
    if ((name != NULL && check_text(name, name_len, err) < 0) ||
        check_text(email, email_len, err) < 0 ||
        set_email(arena, email, email_len, &address, err) < 0)
        return -1;
    if (name != NULL && name_len > 0) {
        address.name = arena_strndup(arena, name, name_len);
        if (address.name == NULL)
            return error_set(err, ERR_NOMEM, "address");
    }
    *out = address;
    return 0;
}

bool address_same(const struct address *a, const struct address *b)
{
    return strcmp(a->local, b->local) == 0 && strcasecmp(a->domain, b->domain) == 0;
}

bool address_matches(const char *email, const char *pattern)
{
    const char *at = strrchr(email, '@');
    if (strcmp(pattern, "*") == 0)
        return true;
    if (pattern[0] == '*' && pattern[1] == '@')
        return at != NULL && strcasecmp(at + 1, pattern + 2) == 0;
    const char *pattern_at = strrchr(pattern, '@');
    return at != NULL && pattern_at != NULL && at - email == pattern_at - pattern &&
           strncmp(email, pattern, (size_t)(at - email)) == 0 &&
           strcasecmp(at + 1, pattern_at + 1) == 0;
}
