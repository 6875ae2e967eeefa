#include "sandbox/field.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "sandbox/coding.h"

enum { SECTIONS_MAX = 64, PARAMETERS_MAX = 256 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span trim(struct span s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s.data++, s.len--;
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static struct span behind(struct span s, size_t n)
{
    return (struct span){s.data + n, s.len - n};
}

static bool equals(struct span s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.data, word, s.len) == 0;
}

/* --- fields ------------------------------------------------------------------------------- */

static size_t line_len(struct span s) /* with its LF */
{
    const char *lf = s.len > 0 ? memchr(s.data, '\n', s.len) : NULL;
    return lf != NULL ? (size_t)(lf - s.data) + 1 : s.len;
}

bool field_next(struct span *rest, struct field *field_out)
{
    size_t len = line_len(*rest);
    if (trim((struct span){rest->data, len}).len == 0) { /* the empty line, or nothing is left */
        *rest = behind(*rest, len);
        return false;
    }
    while (len < rest->len && (rest->data[len] == ' ' || rest->data[len] == '\t'))
        len += line_len(behind(*rest, len));
    struct span field = {rest->data, len};
    *rest = behind(*rest, len);

    const char *colon = memchr(field.data, ':', field.len);
    size_t name = colon != NULL ? (size_t)(colon - field.data) : field.len;
    field_out->name = trim((struct span){field.data, name});
    field_out->value = trim(behind(field, colon != NULL ? name + 1 : name));
    return true;
}

bool field_is(const struct field *field, const char *name)
{
    return equals(field->name, name);
}

struct span field_find(struct span message, const char *name)
{
    struct field field;
    while (field_next(&message, &field))
        if (field_is(&field, name))
            return field.value;
    return (struct span){"", 0};
}

/* --- parameters --------------------------------------------------------------------------- */

struct span field_main(struct span value)
{
    const char *semicolon = value.len > 0 ? memchr(value.data, ';', value.len) : NULL;
    if (semicolon != NULL)
        value.len = (size_t)(semicolon - value.data);
    return trim(value);
}

bool field_main_is(struct span value, const char *word)
{
    return equals(field_main(value), word);
}

bool field_main_begins(struct span value, const char *beginning)
{
    struct span word = field_main(value);
    size_t n = strlen(beginning);
    return word.len >= n && strncasecmp(word.data, beginning, n) == 0;
}

/* Up to the `stop`, or the end, that is in no quoted string. */
static size_t unquoted_span(struct span s, char stop)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < s.len && (quoted || s.data[i] != stop); i++) {
        if (quoted && s.data[i] == '\\')
            i++;
        else if (s.data[i] == '"')
            quoted = !quoted;
    }
    return i < s.len ? i : s.len;
}

/* The next `name=value` of what follows a field's main word; the value still in its quotes. */
static bool next_parameter(struct span *rest, struct span *name, struct span *value)
{
    while (rest->len > 0) {
        *rest = behind(*rest, rest->data[0] == ';');
        size_t len = unquoted_span(*rest, ';');
        struct span whole = {rest->data, len};
        *rest = behind(*rest, len);
        const char *equal = len > 0 ? memchr(whole.data, '=', len) : NULL;
        if (equal == NULL)
            continue;
        size_t n = (size_t)(equal - whole.data);
        *name = trim((struct span){whole.data, n});
        *value = trim(behind(whole, n + 1));
        return true;
    }
    return false;
}

static void unquote(struct span value, struct buffer *out)
{
    bool quoted = value.len > 0 && value.data[0] == '"';
    for (size_t i = quoted ? 1 : 0; i < value.len; i++) {
        if (quoted && value.data[i] == '"')
            break;
        if (quoted && value.data[i] == '\\' && i + 1 < value.len)
            i++;
        if (value.data[i] != '\r' && value.data[i] != '\n') /* folds */
            buffer_append_char(out, value.data[i]);
    }
}

struct forms { /* of one parameter; data NULL: not there */
    struct span plain, extended;
    struct {
        struct span value;
        bool extended;
    } sections[SECTIONS_MAX];
};

/* "*", "*0", "*12*": what follows the name. */
static void note_form(struct forms *forms, struct span suffix, struct span value)
{
    size_t section = 0, i = 1;
    if (suffix.len == 0) {
        if (forms->plain.data == NULL)
            forms->plain = value;
        return;
    }
    if (suffix.len == 1) {
        if (forms->extended.data == NULL)
            forms->extended = value;
        return;
    }
    for (; i < suffix.len && suffix.data[i] >= '0' && suffix.data[i] <= '9'; i++)
        if (section < SECTIONS_MAX)
            section = 10 * section + (size_t)(suffix.data[i] - '0');
    bool extended = i + 1 == suffix.len && suffix.data[i] == '*';
    if ((i < suffix.len && !extended) || i == 1 || section >= SECTIONS_MAX)
        return;
    if (forms->sections[section].value.data == NULL) {
        forms->sections[section].value = value;
        forms->sections[section].extended = extended;
    }
}

static void find_forms(struct span value, const char *name, struct forms *forms)
{
    size_t n = strlen(name), seen = 0;
    struct span rest = behind(value, unquoted_span(value, ';'));
    struct span found, found_value;
    while (seen++ < PARAMETERS_MAX && next_parameter(&rest, &found, &found_value)) {
        bool ours = found.len >= n && strncasecmp(found.data, name, n) == 0 &&
                    (found.len == n || found.data[n] == '*');
        if (ours)
            note_form(forms, behind(found, n), found_value);
    }
}

/* charset'language'text: takes the first two off. */
static struct span take_charset(struct span *text)
{
    const char *end = text->len > 0 ? memchr(text->data, '\'', text->len) : NULL;
    struct span charset = {text->data, end != NULL ? (size_t)(end - text->data) : 0};
    struct span rest = end != NULL ? behind(*text, charset.len + 1) : *text;
    const char *language = end != NULL && rest.len > 0 ? memchr(rest.data, '\'', rest.len) : NULL;
    if (language == NULL)
        return (struct span){"", 0};
    *text = behind(rest, (size_t)(language - rest.data) + 1);
    return charset;
}

/* One section's text, in the charset that section 0 named, appended as octets. */
static void put_section(struct span value, bool extended, bool first, struct buffer *charset,
                        struct buffer *octets)
{
    struct buffer text;
    buffer_init(&text, octets->limit);
    unquote(value, &text);
    struct span rest = {text.data, text.len};
    if (extended && first) {
        struct span named = take_charset(&rest);
        buffer_append(charset, named.data, named.len);
    }
    if (extended)
        coding_percent_decode(rest.data, rest.len, octets);
    else
        buffer_append(octets, rest.data, rest.len);
    octets->failed = octets->failed || text.failed;
    buffer_clear(&text);
}

bool field_parameter(struct span value, const char *name, struct buffer *out)
{
    struct forms forms = {0};
    find_forms(value, name, &forms);
    CLEANUP(buffer_clear) struct buffer charset;
    CLEANUP(buffer_clear) struct buffer octets;
    buffer_init(&charset, 64);
    buffer_init(&octets, out->limit);

    if (forms.extended.data != NULL) {
        put_section(forms.extended, true, true, &charset, &octets);
    } else if (forms.sections[0].value.data != NULL) {
        for (size_t i = 0; i < SECTIONS_MAX && forms.sections[i].value.data != NULL; i++)
            put_section(forms.sections[i].value, forms.sections[i].extended, i == 0, &charset,
                        &octets);
    } else if (forms.plain.data != NULL) {
        put_section(forms.plain, false, true, &charset, &octets);
        coding_words_decode(octets.data, octets.len, out);
        out->failed = out->failed || octets.failed;
        return true;
    } else {
        return false;
    }
    coding_to_utf8(octets.data, octets.len, charset.data, charset.len, out);
    out->failed = out->failed || octets.failed;
    return true;
}

bool field_token(struct span value, const char *name, struct buffer *out)
{
    struct forms forms = {0};
    find_forms(value, name, &forms);
    if (forms.plain.data != NULL)
        unquote(forms.plain, out);
    return forms.plain.data != NULL;
}
