#include "oauth/login/query.h"

#include <criterion/criterion.h>
#include <string.h>

Test(query, values)
{
    static const struct {
        const char *query, *value; /* of "code"; NULL: there is none */
    } rows[] = {
        {"code=abc", "abc"},
        {"state=x&code=abc", "abc"},
        {"code=abc&state=x", "abc"},
        {"code=", ""},
        {"code=a%2Fb%2f+c=d", "a/b/ c=d"},
        {"code=%C3%A4", "\xc3\xa4"},
        {"&&code=abc&", "abc"},
        {"", NULL},
        {"code", NULL},
        {"codes=abc", NULL},
        {"xcode=abc", NULL},
        {"code=a&code=b", NULL}, /* RFC 6749, 3.1 */
        {"code=a&code=a", NULL},
        {"code=%", NULL},
        {"code=%4", NULL},
        {"code=%4&x=1", NULL}, /* the escape may not reach into the next */
        {"code=%zz", NULL},
        {"code=%-1", NULL},
        {"code=a%00b", NULL},
        {"code=a%0D%0Ab", NULL},
        {"code=a%7Fb", NULL},
        {"code=123456789012345", "123456789012345"},
        {"code=1234567890123456", NULL}, /* and no room for its end */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char value[16] = "untouched";
        bool found = query_get(rows[i].query, "code", value, sizeof(value));
        cr_expect_eq(found, rows[i].value != NULL, "%s", rows[i].query);
        cr_expect_str_eq(value, rows[i].value != NULL ? rows[i].value : "untouched", "%s",
                         rows[i].query);
    }
}
