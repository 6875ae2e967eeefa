#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "queue/flight.h"

static char path[40];
static struct flight_ledger *ledger;

static void reopen(void)
{
    struct error err;
    flight_ledger_close(ledger);
    cr_assert_eq(flight_ledger_open(path, &ledger, &err), 0, "%s", err.detail);
}

static void set_up(void)
{
    snprintf(path, sizeof(path), "/tmp/postern-flights-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    reopen();
    flight_ledger_reset(ledger);
}

static void tear_down(void)
{
    flight_ledger_close(ledger);
    unlink(path);
}

TestSuite(flight, .init = set_up, .fini = tear_down);

/* What is left, the list the caller's. */
static struct flight *left_over(size_t *n, bool *rebooted)
{
    struct flight *flights;
    struct error err;
    cr_assert_eq(flight_ledger_left_over(ledger, &flights, n, rebooted, &err), 0);
    return flights;
}

Test(flight, remembers_which_and_how)
{
    size_t n;
    bool rebooted;
    int slot = flight_ledger_enter(ledger, (struct flight){.seq = 1});
    flight_ledger_enter(ledger, (struct flight){.seq = 2, .hold = true});
    flight_ledger_enter(ledger, (struct flight){.seq = INT64_MAX / 2});
    cr_assert(flight_ledger_has(ledger, 1));
    cr_assert(flight_ledger_has(ledger, 2));
    cr_assert_not(flight_ledger_has(ledger, 3));
    flight_ledger_leave(ledger, slot);
    cr_assert_not(flight_ledger_has(ledger, 1));
    reopen();
    struct flight *flights = left_over(&n, &rebooted);
    cr_assert_not(rebooted);
    cr_assert_eq(n, 2);
    cr_assert(flights[0].seq == 2 && flights[0].hold);
    cr_assert(flights[1].seq == INT64_MAX / 2 && !flights[1].hold);
    free(flights);
}

Test(flight, does_not_read_what_an_earlier_version_wrote)
{
    size_t n;
    bool rebooted;
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    cr_assert_geq(fputs("PSTNFLT1", file), 0);
    fclose(file);
    reopen();
    free(left_over(&n, &rebooted));
    cr_assert(rebooted);
}

Test(flight, is_full_at_some_time)
{
    for (size_t i = 0; i < FLIGHT_SLOTS; i++)
        cr_assert_geq(flight_ledger_enter(ledger, (struct flight){.seq = 7}), 0);
    cr_assert_eq(flight_ledger_enter(ledger, (struct flight){.seq = 8}), -1);
    flight_ledger_leave(ledger, 5);
    cr_assert_eq(flight_ledger_enter(ledger, (struct flight){.seq = 8}), 5);
}

Test(flight, remembers_how_the_clock_stood)
{
    static const int64_t clocks[] = {0, -1, 1795435200000, -1795435200000, 86400000};
    int64_t started_ms = 7;
    cr_assert_not(flight_ledger_clock(ledger, &started_ms));
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        flight_ledger_set_clock(ledger, clocks[i]);
        reopen();
        cr_assert(flight_ledger_clock(ledger, &started_ms));
        cr_assert_eq(started_ms, clocks[i]);
    }
    FILE *file = fopen(path, "r+"); /* another start of the machine */
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, 8, SEEK_SET), 0);
    cr_assert_geq(fputs("another", file), 0);
    fclose(file);
    reopen();
    cr_assert_not(flight_ledger_clock(ledger, &started_ms));
}
