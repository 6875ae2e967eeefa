#include "base/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(file, read)
{
    char path[] = "/tmp/postern-file-XXXXXX", text[8];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_expect_eq(file_read(path, text, sizeof(text)), 0);
    cr_assert_eq(write(fd, "0123456789", 10), 10);
    cr_expect_eq(file_read(path, text, sizeof(text)), 8, "as much as there is room for");
    cr_expect_eq(memcmp(text, "01234567", 8), 0);
    close(fd);
    unlink(path);
    cr_expect_eq(file_read(path, text, sizeof(text)), -1);
    cr_expect_eq(errno, ENOENT);
    cr_expect_eq(file_read("/", text, sizeof(text)), -1);
    cr_expect_eq(errno, EISDIR);
}
