#include <criterion/criterion.h>
#include <string.h>

#include "smtp/content.h"

Test(content, of_eight_bits_is_found_wherever_the_octet_stands)
{
    char data[40];
    for (size_t len = 0; len <= sizeof(data); len++) {
        memset(data, 0x7f, sizeof(data));
        cr_assert_not(smtp_content_is_8bit(data, len), "%zu", len);
        if (len < sizeof(data))
            data[len] = (char)0xff; /* right behind it */
        cr_assert_not(smtp_content_is_8bit(data, len), "%zu", len);
        for (size_t at = 0; at < len; at++) {
            memset(data, 0x7f, sizeof(data));
            data[at] = (char)0x80;
            cr_assert(smtp_content_is_8bit(data, len), "%zu of %zu", at, len);
        }
    }
    cr_assert_not(smtp_content_is_8bit(NULL, 0));
}
