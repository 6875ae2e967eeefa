#include "queue/flight.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BOOT_ID_SIZE = 40 };

static const int64_t KNOWN = INT64_C(1) << 60; /* a clock that starts at 0 is quite usual */

static const char MAGIC[8] = "PSTNFLT2";

struct file { /* as it is mapped */
    char magic[8];
    char boot_id[BOOT_ID_SIZE];
    _Atomic int64_t slots[FLIGHT_SLOTS]; /* 0: free */
    _Atomic int64_t started_ms;          /* and KNOWN; 0: the file of an earlier version */
};

struct flight_ledger {
    struct file *file;
    char boot_id[BOOT_ID_SIZE];
    bool rebooted;
    atomic_uint next; /* where to look for a free slot */
};

/* One word for both, since a slot is written in one store: the seq, and in its lowest bit whether
 * to hold. */
static int64_t pack(struct flight flight)
{
    assert(flight.seq > 0 && flight.seq <= INT64_MAX / 2); /* they count up from one */
    return flight.seq * 2 + flight.hold;
}

static struct flight unpack(int64_t slot)
{
    return (struct flight){.seq = slot / 2, .hold = slot % 2 != 0};
}

static void read_boot_id(char out[BOOT_ID_SIZE])
{
    memset(out, 0, BOOT_ID_SIZE);
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f == NULL)
        return;
    if (fgets(out, BOOT_ID_SIZE, f) == NULL)
        out[0] = '\0';
    fclose(f);
}

/* -1 with errno; the descriptor is not needed once it is mapped. */
static struct file *map_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return MAP_FAILED;
    int rc = posix_fallocate(fd, 0, sizeof(struct file));
    struct file *file = MAP_FAILED;
    if (rc == 0)
        file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    else
        errno = rc;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return file;
}

int flight_ledger_open(const char *path, struct flight_ledger **ledger_out, struct error *err)
{
    struct flight_ledger *ledger = calloc(1, sizeof(*ledger));
    if (ledger == NULL)
        return error_set(err, ERR_NOMEM, "flight ledger");
    ledger->file = path != NULL ? map_file(path)
                                : mmap(NULL, sizeof(*ledger->file), PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ledger->file == MAP_FAILED) {
        free(ledger);
        return error_set(err, ERR_CONFIG, "queue.store: %s: %s", path != NULL ? path : "memory",
                         strerror(errno));
    }
    read_boot_id(ledger->boot_id);
    /* A ledger that is new, or of another boot, knows nothing of what was under way. */
    ledger->rebooted = memcmp(ledger->file->magic, MAGIC, sizeof(MAGIC)) != 0 ||
                       memcmp(ledger->file->boot_id, ledger->boot_id, BOOT_ID_SIZE) != 0;
    *ledger_out = ledger;
    return 0;
}

void flight_ledger_close(struct flight_ledger *ledger)
{
    if (ledger != NULL)
        munmap(ledger->file, sizeof(*ledger->file));
    free(ledger);
}

int flight_ledger_left_over(const struct flight_ledger *ledger, struct flight **flights_out,
                            size_t *n_out, bool *rebooted_out, struct error *err)
{
    struct flight *flights = calloc(FLIGHT_SLOTS, sizeof(*flights));
    if (flights == NULL)
        return error_set(err, ERR_NOMEM, "flight ledger");
    size_t n = 0;
    for (size_t i = 0; i < FLIGHT_SLOTS; i++) {
        int64_t slot = atomic_load(&ledger->file->slots[i]);
        if (slot != 0)
            flights[n++] = unpack(slot);
    }
    *flights_out = flights;
    *n_out = n;
    *rebooted_out = ledger->rebooted;
    return 0;
}

void flight_ledger_reset(struct flight_ledger *ledger)
{
    for (size_t i = 0; i < FLIGHT_SLOTS; i++)
        atomic_store(&ledger->file->slots[i], 0);
    memcpy(ledger->file->boot_id, ledger->boot_id, BOOT_ID_SIZE);
    memcpy(ledger->file->magic, MAGIC, sizeof(MAGIC));
    ledger->rebooted = false;
}

bool flight_ledger_clock(const struct flight_ledger *ledger, int64_t *started_ms_out)
{
    int64_t noted = atomic_load(&ledger->file->started_ms);
    if (noted == 0 || ledger->rebooted)
        return false;
    *started_ms_out = noted - KNOWN;
    return true;
}

void flight_ledger_set_clock(struct flight_ledger *ledger, int64_t started_ms)
{
    atomic_store(&ledger->file->started_ms, started_ms + KNOWN);
}

int flight_ledger_enter(struct flight_ledger *ledger, struct flight flight)
{
    unsigned start = atomic_fetch_add_explicit(&ledger->next, 1, memory_order_relaxed);
    for (unsigned i = 0; i < FLIGHT_SLOTS; i++) {
        unsigned slot = (start + i) % FLIGHT_SLOTS;
        int64_t none = 0;
        if (atomic_compare_exchange_strong(&ledger->file->slots[slot], &none, pack(flight)))
            return (int)slot;
    }
    return -1;
}

void flight_ledger_leave(struct flight_ledger *ledger, int slot)
{
    if (slot >= 0)
        atomic_store(&ledger->file->slots[slot], 0);
}

bool flight_ledger_has(const struct flight_ledger *ledger, int64_t seq)
{
    for (size_t i = 0; i < FLIGHT_SLOTS; i++)
        if (unpack(atomic_load_explicit(&ledger->file->slots[i], memory_order_relaxed)).seq == seq)
            return true;
    return false;
}
