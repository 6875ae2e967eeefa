#include "config/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/postern-secret-XXXXXX";
static char path[64];

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/secret", dir);
}

static void remove_dir(void)
{
    unlink(path);
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(secret, .init = make_dir, .fini = remove_dir);

static void put(const char *content, size_t len)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(content, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
}

Test(secret, one_line)
{
    char full[CONFIG_SECRET_SIZE - 1];
    memset(full, 'x', sizeof(full));
    const struct {
        const char *content;
        size_t len;
        size_t secret_len; /* of its begin */
    } rows[] = {{"s3cret", 6, 6},       {"s3cret\n", 7, 6}, {"s3cret\r\n", 8, 6},
                {"s3cret\n\n\n", 9, 6}, {" a b \n", 6, 5},  {"${HOME}", 7, 7},
                {"\xff\n", 2, 1},       {"a\rb\n", 4, 3},   {full, sizeof(full), sizeof(full)}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char secret[CONFIG_SECRET_SIZE];
        struct error err = {0};
        put(rows[i].content, rows[i].len);
        cr_assert_eq(config_read_secret_file(path, secret, &err), 0, "%zu: %s", i, err.detail);
        cr_expect_eq(strlen(secret), rows[i].secret_len, "%zu", i);
        cr_expect_arr_eq(secret, rows[i].content, rows[i].secret_len);
    }
}

Test(secret, what_was_read_last_stays)
{
    char large[CONFIG_SECRET_SIZE];
    memset(large, 'x', sizeof(large));
    const struct {
        const char *content;
        size_t len;
        const char *why;
    } rows[] = {{"", 0, "is empty"},
                {"\r\n\n", 3, "is empty"},
                {"s3cret\nother", 12, "holds more than one line"},
                {"s3\0cret", 7, "holds more than one line"},
                {large, sizeof(large), "is larger than a secret may be: 4096 octets"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char secret[CONFIG_SECRET_SIZE] = "before";
        struct error err = {0};
        put(rows[i].content, rows[i].len);
        cr_expect_lt(config_read_secret_file(path, secret, &err), 0, "%zu", i);
        cr_expect_eq(err.code, ERR_CONFIG);
        cr_expect(strstr(err.detail, rows[i].why) != NULL && strstr(err.detail, path) != NULL, "%s",
                  err.detail);
        cr_expect_null(strstr(err.detail, "s3"), "%s", err.detail);
        cr_expect_str_eq(secret, "before");
    }
}

Test(secret, files_that_cannot_be_read)
{
    char secret[CONFIG_SECRET_SIZE] = "before";
    struct error err = {0};
    cr_expect_lt(config_read_secret_file(path, secret, &err), 0);
    cr_expect_not_null(strstr(err.detail, "No such file"), "%s", err.detail);
    cr_expect_lt(config_read_secret_file(dir, secret, &err), 0);
    cr_expect_not_null(strstr(err.detail, "directory"), "%s", err.detail);
    cr_expect_str_eq(secret, "before");
}

/* As Kubernetes does it: the name is moved over to another file at once. */
Test(secret, read_again_after_it_changed)
{
    char secret[CONFIG_SECRET_SIZE], next[80];
    put("old\n", 4);
    cr_assert_eq(config_read_secret_file(path, secret, NULL), 0);
    cr_expect_str_eq(secret, "old");
    snprintf(next, sizeof(next), "%s.next", path);
    cr_assert_eq(rename(path, next), 0);
    put("longer than before\n", 19);
    cr_assert_eq(rename(path, next), 0);
    cr_assert_eq(rename(next, path), 0);
    cr_assert_eq(config_read_secret_file(path, secret, NULL), 0);
    cr_expect_str_eq(secret, "longer than before");
}
