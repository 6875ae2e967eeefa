#include <criterion/criterion.h>
#include <limits.h>

#include "api/prefer.h"

Test(prefer, wait_is_one_of_a_list)
{
    static const struct {
        const char *prefer;
        long seconds; /* -1: none */
    } rows[] = {
        {NULL, -1},
        {"", -1},
        {"wait=1", 1},
        {"Wait=7", 7},
        {"WAIT = 1", 1},
        {"wait\t=\t1", 1},
        {"wait=\"10\"", 10},
        {"wait=\"\\1\\0\"", 10},
        {"respond-async, wait=2", 2},
        {"respond-async,wait=2", 2},
        {"wait=2, respond-async", 2},
        {"return=minimal,\twait=1", 1},
        {" , ,wait=1,", 1},
        {"wait=3; a=b; c", 3},
        {"wait=3 ;a", 3},
        {"handling=lenient; note=\"x, wait=3\"", -1},
        {"handling=lenient; note=\"x, wait=3\", wait=4", 4},
        {"note=\"\\\", wait=3\", wait=5", 5},
        {"handling=lenient; wait=3", -1},
        {"wait=1, wait=2", 1},
        {"wait=abc, wait=2", -1},
        {"wait, wait=2", -1},
        {"wait", -1},
        {"wait=", -1},
        {"wait=\"\"", -1},
        {"wait=\"1", -1},
        {"wait=-1", -1},
        {"wait=+1", -1},
        {"wait=1.5", -1},
        {"wait=1s", -1},
        {"wait=1 2", -1},
        {"wait=0", 0},
        {"xwait=1", -1},
        {"wait-for=1", -1},
        {"await=1", -1},
        {"=1", -1},
        {"wait=99999999999", 99999999999},
        {"wait=99999999999999999999999999999999999999999999", LONG_MAX},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        long seconds = -1;
        bool found = prefer_wait(rows[i].prefer, &seconds);
        cr_expect_eq(found, rows[i].seconds >= 0, "%s", rows[i].prefer ? rows[i].prefer : "none");
        cr_expect_eq(seconds, rows[i].seconds, "%s: %ld", rows[i].prefer ? rows[i].prefer : "none",
                     seconds);
    }
}
