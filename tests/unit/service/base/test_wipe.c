#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/wipe.h"

/* That nothing is left behind cannot be read from freed memory; what grows must keep its content,
 * and NULL be fine. */
Test(wipe, nothing_is_fine)
{
    wipe_free(NULL);
    wipe_free(malloc(1));
}

Test(wipe, a_buffer_that_wipes_holds_what_any_other_does)
{
    CLEANUP(buffer_clear) struct buffer plain, wiping;
    buffer_init(&plain, 1 << 20);
    buffer_init(&wiping, 1 << 20);
    wiping.wiping = true;
    for (int i = 0; i < 5000; i++) {
        cr_assert_eq(buffer_printf(&plain, "%d,", i), 0);
        cr_assert_eq(buffer_printf(&wiping, "%d,", i), 0);
    }
    cr_assert_eq(plain.len, wiping.len);
    cr_assert_eq(memcmp(plain.data, wiping.data, plain.len), 0);
    buffer_clear(&wiping);
    cr_assert(wiping.wiping);
    cr_assert_eq(wiping.len, 0);
    cr_assert_eq(buffer_append_str(&wiping, "again"), 0);
}
