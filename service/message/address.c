#include "message/address.h"

#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "message/encoded_word.h"
#include "message/text.h"

enum { DOMAIN_MAX = 255, LABEL_MAX = 63, PATH_MAX_OCTETS = 254 };

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

/* What cannot be seen is not what was meant: a mailbox of another name, or nobody's. */
static int refuse_invisible(const char *s, size_t len, bool is_domain, struct error *err)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = utf8_code_point(s + i, len - i, &c);
        bool joiner = c == 0x200c || c == 0x200d; /* in a domain IDNA says where they may stand */
        if (n > 1 && text_is_invisible(c) && !(is_domain && joiner))
            return error_set(err, ERR_INVALID, "holds U+%04X, which cannot be seen", (unsigned)c);
        i += n > 0 ? n : 1;
    }
    return 0;
}

/* Several in one string are the commonest mistake. */
static int refuse_several(struct error *err)
{
    return bad(err, "one address is wanted: several are given as a list, [\"a@...\", \"b@...\"]");
}

static int set_local(struct arena *arena, const char *s, size_t len, struct address *out,
                     struct error *err)
{
    if (len == 0)
        return bad(err, "nothing before the @");
    if (s[0] == '"') {
        if (quoted_len(s, len) != len)
            return bad(err, "the quotes before the @ do not fit");
    } else if (dot_atom_len(s, len) != len) {
        return bad(err, "characters before the @ that an address cannot hold");
    }
    if (refuse_invisible(s, len, false, err) < 0)
        return -1;
    out->utf8_local = !text_is_ascii(s, len);
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
    if (memchr(s, '@', len) != NULL)
        return bad(err, "more than one @");
    if (len > DOMAIN_MAX)
        return bad(err, "the domain is too long");
    if (refuse_invisible(s, len, true, err) < 0)
        return -1;
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
    if (memchr(at + 1, '@', len - local - 1) != NULL &&
        (memchr(at, ',', len - local) != NULL || memchr(at, ';', len - local) != NULL))
        return refuse_several(err);
    if (set_local(arena, s, local, out, err) < 0 ||
        set_domain(arena, at + 1, len - local - 1, out, err) < 0)
        return -1;
    if (strlen(out->local) + 1 + strlen(out->domain) > PATH_MAX_OCTETS)
        return bad(err, "the address is too long");
    out->email = arena_printf(arena, "%s@%s", out->local, out->domain);
    return out->email != NULL ? 0 : error_set(err, ERR_NOMEM, "address");
}

/* --- whole -------------------------------------------------------------------------------- */

static int check_text(const char *s, size_t len, struct error *err)
{
    const char *why = text_header_fault(s, len);
    return why == NULL ? 0 : bad(err, why);
}

/* Blanks around it are no part of a name, and a name of blanks is none. */
static int keep_name(struct arena *arena, const char *s, size_t len, struct address *out,
                     struct error *err)
{
    len = text_trim(&s, len);
    if (len == 0)
        return 0;
    out->name = arena_strndup(arena, s, len);
    return out->name != NULL ? 0 : error_set(err, ERR_NOMEM, "address");
}

static int set_name(struct arena *arena, const char *s, size_t len, struct address *out,
                    struct error *err)
{
    len = text_trim(&s, len);
    const char *name;
    if (len > 0 && s[0] == '"' && quoted_len(s, len) == len) {
        name = unquote(arena, s, len);
    } else {
        bool comma = memchr(s, ',', len) != NULL || memchr(s, ';', len) != NULL;
        if (comma && memchr(s, '@', len) != NULL)
            return refuse_several(err);
        for (size_t i = 0; i < len; i++)
            if (strchr("\",(>:;@", s[i]) != NULL)
                return bad(err, "one mailbox is wanted; a name with , : ; ( @ or quotes in it "
                                "stands in double quotes, or in {name, email}");
        name = encoded_word_decode(arena, s, len);
    }
    if (name == NULL)
        return error_set(err, ERR_NOMEM, "address");
    if (check_text(name, strlen(name), err) < 0) /* an encoded word can hold anything */
        return -1;
    return keep_name(arena, name, strlen(name), out, err);
}

int address_parse(struct arena *arena, const char *text, size_t len, struct address *out,
                  struct error *err)
{
    struct address address = {0};
    if (check_text(text, len, err) < 0)
        return -1;
    len = text_trim(&text, len);
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
        set_email(arena, email, email_len, &address, err) < 0 ||
        (name != NULL && keep_name(arena, name, name_len, &address, err) < 0))
        return -1;
    *out = address;
    return 0;
}

/* Up to the comma that divides mailboxes: one in no quoted string and no angle brackets. */
static size_t mailbox_len(const char *s, size_t len)
{
    bool angle = false;
    size_t i = 0;
    while (i < len && (angle || s[i] != ',')) {
        size_t quoted = s[i] == '"' ? quoted_len(s + i, len - i) : 0;
        if (s[i] == '<' || s[i] == '>')
            angle = s[i] == '<';
        i += quoted > 0 ? quoted : 1;
    }
    return i;
}

int address_list_parse(struct arena *arena, const char *text, size_t len, struct address_list *out,
                       struct error *err)
{
    size_t n_most = 1;
    for (size_t i = 0; i < len; i++)
        n_most += text[i] == ',';
    struct address_list list = {.items = arena_alloc_array(arena, n_most, sizeof(*list.items))};
    if (list.items == NULL)
        return error_set(err, ERR_NOMEM, "addresses");
    for (size_t i = 0; i < len;) {
        const char *one = text + i;
        size_t n = mailbox_len(one, len - i);
        i += n + 1;
        n = text_trim(&one, n);
        if (n > 0 && address_parse(arena, one, n, &list.items[list.n_items++], err) < 0)
            return -1;
    }
    *out = list;
    return 0;
}

int address_order(const struct address *a, const struct address *b)
{
    int order = strcmp(a->local, b->local);
    return order != 0 ? order : strcasecmp(a->domain, b->domain);
}

struct ranked { /* an address and where it stood */
    const struct address *address;
    size_t rank;
    address_order_fn *order;
};

static int by_address(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int order = x->order(x->address, y->address);
    return order != 0 ? order : x->rank < y->rank ? -1 : x->rank > y->rank;
}

long address_distinct(struct arena *arena, const struct address **items, size_t n,
                      address_order_fn *order)
{
    struct ranked *ranked = arena_alloc_array(arena, n + 1, sizeof(*ranked));
    if (ranked == NULL)
        return -1;
    for (size_t i = 0; i < n; i++)
        ranked[i] = (struct ranked){items[i], i, order};
    qsort(ranked, n, sizeof(*ranked), by_address);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (order(ranked[first].address, ranked[i].address) == 0)
            items[ranked[i].rank] = NULL;
        else
            first = i;
    }
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (items[i] != NULL)
            items[left++] = items[i];
    return (long)left;
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
