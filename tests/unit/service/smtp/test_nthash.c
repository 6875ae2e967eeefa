#include "smtp/nthash.h"

#include <criterion/criterion.h>

/* Of [MS-NLMP], 4.2.2.1.2, and of openssl dgst -md4. */
Test(nthash, known_ones)
{
    static const struct {
        const char *password, *hex;
    } rows[] = {
        {"Password", "a4f49c406510bdcab6824ee7c30fd852"},
        {"", "31d6cfe0d16ae931b73c59d7e0c089c0"},
        {"p@ss \"w0rd\" \\ 100% ünï", "ec67caab3380fb3b6947146e5cca2529"},
        {"€ 🎉", "de775e9e0d9b441d29d661c3a4488f0b"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char hex[NTHASH_SIZE] = "";
        struct error err = {0};
        cr_expect_eq(nthash_of(rows[i].password, hex, &err), 0, "%s", err.detail);
        cr_expect_str_eq(hex, rows[i].hex, "%s: %s", rows[i].password, hex);
    }
}

Test(nthash, no_text)
{
    char hex[NTHASH_SIZE] = "untouched";
    struct error err = {0};
    cr_expect_eq(nthash_of("latin\xfc", hex, &err), -1);
    cr_expect_eq(err.code, ERR_AUTH_FAILED);
    cr_expect_str_eq(hex, "untouched");
}
