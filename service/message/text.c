#include "message/text.h"

#include "base/utf8.h"

const char *text_header_fault(const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = utf8_code_point(s + i, len - i, &c);
        if (n == 0)
            return "not valid UTF-8";
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            return "holds a control character";
        if (c == 0x2028 || c == 0x2029)
            return "holds a line separator";
        i += n;
    }
    return NULL;
}

bool text_is_ascii(const char *s, size_t len)
{
    unsigned char all = 0;
    for (size_t i = 0; i < len; i++)
        all |= (unsigned char)s[i];
    return all < 0x80;
}

bool text_is_invisible(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0xa0, 0xa0},       {0xad, 0xad},     {0x34f, 0x34f},     {0x61c, 0x61c},
        {0x115f, 0x1160},   {0x1680, 0x1680}, {0x17b4, 0x17b5},   {0x180b, 0x180f},
        {0x2000, 0x200f},   {0x2028, 0x202f}, {0x205f, 0x206f},   {0x2800, 0x2800},
        {0x3000, 0x3000},   {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
        {0xffa0, 0xffa0},   {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && c >= ranges[i].first; i++)
        if (c <= ranges[i].last)
            return true;
    return false;
}

size_t text_count(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

size_t text_trim(const char **s, size_t len)
{
    while (len > 0 && **s == ' ')
        ++*s, len--;
    while (len > 0 && (*s)[len - 1] == ' ')
        len--;
    return len;
}
