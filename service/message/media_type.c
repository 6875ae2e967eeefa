#include "message/media_type.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "message/text.h"

enum {
    TYPE_MAX =
        900, /* octets; on the wire it fits into a line even if nothing in it can be folded */
    LINE_WANTED = 62, /* behind "Content-Type: "; what is longer has a line for each parameter */
};

/* RFC 2045, 5.1; for type and subtype RFC 6838, 4.2 allows less. */
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const char NAME[] = ALNUM "!#$&+-.^_", TOKEN[] = ALNUM "!#$%&'*+-.^_`{|}~";

static int bad(struct error *err, const char *why)
{
    return error_set(err, ERR_INVALID, "%s", why);
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " ");
}

/* A quoted string with its quotes; 0: it does not end, or is not ASCII. */
static size_t quoted_len(const char *s)
{
    for (size_t i = 1; s[i] != '\0' && (unsigned char)s[i] < 0x80; i++) {
        if (s[i] == '"')
            return i + 1;
        if (s[i] == '\\' && ((unsigned char)s[++i] >= 0x80 || s[i] == '\0'))
            return 0;
    }
    return 0;
}

/* Of a token or a quoted string. */
static const char *plain_value(struct arena *arena, const char *s, size_t len)
{
    char *out = arena_strndup(arena, s, len);
    size_t n = 0;
    if (out == NULL || s[0] != '"')
        return out;
    for (size_t i = 1; i + 1 < len; i++) {
        if (s[i] == '\\')
            i++;
        out[n++] = s[i];
    }
    out[n] = '\0';
    return out;
}

struct parameter {
    const char *name, *value; /* borrowed; the value with its quotes */
    size_t name_len, value_len;
};

/* The parameter behind the ";" at `*s`, which then is what follows it. */
static int read_parameter(const char **s, struct parameter *out, struct error *err)
{
    const char *at = skip_blanks(*s + 1);
    out->name = at;
    out->name_len = strspn(at, TOKEN);
    at = skip_blanks(at + out->name_len);
    if (out->name_len == 0 || *at != '=')
        return bad(err, "has something behind a semicolon that is no parameter, name=value");
    at = skip_blanks(at + 1);
    out->value = at;
    out->value_len = *at == '"' ? quoted_len(at) : strspn(at, TOKEN);
    at = skip_blanks(at + out->value_len);
    if (out->value_len == 0 || (*at != '\0' && *at != ';'))
        return bad(err, "has a parameter whose value is neither a word nor in double quotes");
    *s = at;
    return 0;
}

static bool is_named(const struct parameter *p, const char *name, size_t len)
{
    return p->name_len == len && strncasecmp(p->name, name, len) == 0;
}

/* In the forms of RFC 2231 too: name*=, name*0=. */
static bool is_file_name(const struct parameter *p)
{
    return is_named(p, "name", 4) || (p->name_len > 4 && strncasecmp(p->name, "name*", 5) == 0);
}

/* Was a parameter of that name among those from `s` to `end`, which can be read? */
static bool is_twice(const char *s, const char *end, const struct parameter *p)
{
    struct parameter before;
    while (s < end && read_parameter(&s, &before, NULL) == 0)
        if (is_named(&before, p->name, p->name_len))
            return true;
    return false;
}

int media_type_parse(struct arena *arena, const char *value, struct media_type *out,
                     struct error *err)
{
    static const char want[] = "is not a media type such as application/pdf";
    struct media_type type = {0};
    const char *s = value;
    size_t len = text_trim(&s, strlen(s));
    s = arena_strndup(arena, s, len);
    if (s == NULL)
        return error_set(err, ERR_NOMEM, "media type");
    size_t n = strspn(s, NAME), m = s[n] == '/' ? strspn(s + n + 1, NAME) : 0;
    const char *first = skip_blanks(s + n + (m > 0 ? m + 1 : 0));
    if (n == 0 || m == 0 || (*first != '\0' && *first != ';'))
        return bad(err, want);
    if (len > TYPE_MAX)
        return error_set(err, ERR_INVALID, "has more than %d octets", TYPE_MAX);
    const char *separator = len > LINE_WANTED ? ";\r\n\t" : "; ";
    size_t size = 5 * len + 1; /* a separator for each semicolon, at most */
    char *text = arena_alloc(arena, size);
    if (text == NULL)
        return error_set(err, ERR_NOMEM, "media type");
    size_t n_text = (size_t)snprintf(text, size, "%.*s", (int)(n + 1 + m), s);
    for (const char *at = first; *at == ';' && *skip_blanks(at + 1) != '\0';) {
        struct parameter p;
        const char *begin = at;
        if (read_parameter(&at, &p, err) < 0)
            return -1;
        if (is_twice(first, begin, &p))
            return error_set(err, ERR_INVALID, "has the parameter %.*s twice", (int)p.name_len,
                             p.name);
        if (is_named(&p, "name", 4) &&
            (type.name = plain_value(arena, p.value, p.value_len)) == NULL)
            return error_set(err, ERR_NOMEM, "media type");
        if (!is_file_name(&p))
            n_text += (size_t)snprintf(text + n_text, size - n_text, "%s%.*s=%.*s", separator,
                                       (int)p.name_len, p.name, (int)p.value_len, p.value);
    }
    type.text = text;
    *out = type;
    return 0;
}

const char *media_type_of_file(const char *filename)
{
    static const struct {
        const char *extension, *type;
    } rows[] = {
        {"7z", "application/x-7z-compressed"},
        {"avif", "image/avif"},
        {"bmp", "image/bmp"},
        {"bz2", "application/x-bzip"},
        {"css", "text/css"},
        {"csv", "text/csv"},
        {"doc", "application/msword"},
        {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"eml", "message/rfc822"},
        {"epub", "application/epub+zip"},
        {"gif", "image/gif"},
        {"gz", "application/gzip"},
        {"heic", "image/heic"},
        {"htm", "text/html"},
        {"html", "text/html"},
        {"ics", "text/calendar"},
        {"jpeg", "image/jpeg"},
        {"jpg", "image/jpeg"},
        {"js", "text/javascript"},
        {"json", "application/json"},
        {"log", "text/plain"},
        {"md", "text/markdown"},
        {"mov", "video/quicktime"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"mpeg", "video/mpeg"},
        {"odp", "application/vnd.oasis.opendocument.presentation"},
        {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
        {"odt", "application/vnd.oasis.opendocument.text"},
        {"ogg", "audio/ogg"},
        {"p7s", "application/pkcs7-signature"},
        {"pdf", "application/pdf"},
        {"png", "image/png"},
        {"ppt", "application/vnd.ms-powerpoint"},
        {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
        {"rtf", "application/rtf"},
        {"svg", "image/svg+xml"},
        {"tar", "application/x-tar"},
        {"tgz", "application/gzip"},
        {"tif", "image/tiff"},
        {"tiff", "image/tiff"},
        {"txt", "text/plain"},
        {"vcf", "text/vcard"},
        {"wav", "audio/x-wav"},
        {"webm", "video/webm"},
        {"webp", "image/webp"},
        {"xls", "application/vnd.ms-excel"},
        {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"xml", "application/xml"},
        {"xz", "application/x-xz"},
        {"zip", "application/zip"},
    };
    const char *dot = filename != NULL ? strrchr(filename, '.') : NULL;
    for (size_t i = 0; dot != NULL && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcasecmp(dot + 1, rows[i].extension) == 0)
            return rows[i].type;
    return "application/octet-stream";
}

bool media_type_is(const char *text, const char *type)
{
    size_t n = strlen(type);
    return strncasecmp(text, type, n) == 0 && text[n] == '/';
}
