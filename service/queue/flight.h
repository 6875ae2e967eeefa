#ifndef POSTERN_QUEUE_FLIGHT_H
#define POSTERN_QUEUE_FLIGHT_H

/*
 * The flight ledger: which messages have a transaction under way on some connection, so that after
 * a SIGKILL exactly those are in doubt and no others. A file of slots beside the store, mapped
 * shared: a slot is written before a message's content may go out and cleared after its outcome is
 * committed. The kernel keeps it through the death of the process; through a power failure it is
 * worth nothing, which the boot id in its head shows: then every message that was claimed is in
 * doubt. The file is allocated whole at birth, so a full disk cannot fault a mapped page.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct flight_ledger;

enum { FLIGHT_SLOTS = 8192 };

struct flight {
    int64_t seq; /* of the message */
    bool hold;   /* its relay's on_in_doubt: hold */
};

/* `path` NULL: in memory only. Opens or makes the file (mode 0600). */
int flight_ledger_open(const char *path, struct flight_ledger **ledger_out, struct error *err);
void flight_ledger_close(struct flight_ledger *ledger);

/* What the last process left, owned by the caller; `*rebooted_out`: the machine went down in
 * between and the list says nothing. Then cleared by flight_ledger_reset(). */
int flight_ledger_left_over(const struct flight_ledger *ledger, struct flight **flights_out,
                            size_t *n_out, bool *rebooted_out, struct error *err);
void flight_ledger_reset(struct flight_ledger *ledger);

/*
 * When the machine was started by the wall clock of the last process, that is, what it said less
 * clock_boot_ms(); if it says something else now, somebody has set it in between. false: not known.
 */
bool flight_ledger_clock(const struct flight_ledger *ledger, int64_t *started_ms_out);
void flight_ledger_set_clock(struct flight_ledger *ledger, int64_t started_ms);

/* Any thread, no locks. -1: all slots are taken. */
int flight_ledger_enter(struct flight_ledger *ledger, struct flight flight);
void flight_ledger_leave(struct flight_ledger *ledger, int slot);
bool flight_ledger_has(const struct flight_ledger *ledger, int64_t seq);

#endif
