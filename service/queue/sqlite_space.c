/*
 * The disk that the store lies on, when it gets narrow.
 *
 * A commit appends to the log (queue.db-wal), and only a checkpoint, which may have to make the
 * file grow by all that is in the log, lets the log begin anew. So a disk that the log has filled
 * stays full: there is no room to copy the log into the file, and nothing else would free any.
 * Hence the reserve, a file whose blocks are really there (queue.db.reserve): one half is what a
 * log of its usual length may need in the file, the other what outcomes add to the log. It is given
 * up when a write finds the disk full and made again when there is room; without it no mail is
 * taken in. What our own mail may fill ends so much earlier that the reserve is left for others'
 * doing.
 *
 * Pages that were freed go back to the disk by incremental vacuum, in slices when there is nothing
 * else to do. A file from before is vacuumed once, at start, if it is small and there is room.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "queue/sqlite_store.h"

enum {
    RESERVE_MAX = 16 * 1024 * 1024,
    RESERVE_MIN = 256 * 1024,
    VOLUME_SHARE = 8,       /* of a small volume at most one part in so many */
    SLICE_PAGES = 256,      /* given back in one transaction */
    SPARE_PAGES = 256,      /* kept for the next mail while there is room */
    SMALL_LOG = 256 * 1024, /* not worth the syncs that cutting it costs */
    REWRITE_MAX = 64 << 20, /* a larger file from before is not rewritten: starting takes long */
};

/* What there is for an ordinary process; UINT64_MAX: not known, a write will tell. */
static uint64_t free_bytes(const struct store *store)
{
    struct statvfs fs;
    if (fstatvfs(store->reserve_fd, &fs) < 0)
        return UINT64_MAX;
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static uint64_t log_bytes(const struct store *store)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof(path), "%s-wal", store->path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t freed_bytes(const struct store *store)
{
    int64_t n = sqlite_number(store->db, "PRAGMA freelist_count");
    return n > 0 ? (uint64_t)n * store->page_bytes : 0;
}

static uint64_t usual_log_bytes(const struct store *store)
{
    return store->reserve_bytes / 2;
}

/* --- the reserve -------------------------------------------------------------------------- */

static void give_up_reserve(struct store *store)
{
    if (ftruncate(store->reserve_fd, 0) < 0)
        log_warn("the reserve could not be given up", LOG_STR("detail", strerror(errno)));
    store->has_reserve = false;
}

/* With as much again left over, so that it is not made and given up by turns. */
static void make_reserve(struct store *store)
{
    if (store->has_reserve || free_bytes(store) < store->reserve_bytes + usual_log_bytes(store))
        return;
    if (posix_fallocate(store->reserve_fd, 0, (off_t)store->reserve_bytes) == 0)
        store->has_reserve = true;
    else
        give_up_reserve(store); /* what of it was there */
}

int sqlite_open_reserve(struct store *store, struct error *err)
{
    char path[4096];
    struct statvfs fs;
    struct stat st;
    if ((size_t)snprintf(path, sizeof(path), "%s.reserve", store->path) >= sizeof(path))
        return error_set(err, ERR_CONFIG, "queue.store: the path is too long");
    store->reserve_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->reserve_fd < 0 || fstat(store->reserve_fd, &st) < 0 ||
        fstatvfs(store->reserve_fd, &fs) < 0)
        return error_set(err, ERR_CONFIG, "queue.store: %s: %s", path, strerror(errno));
    uint64_t share = (uint64_t)fs.f_blocks * fs.f_frsize / VOLUME_SHARE;
    store->reserve_bytes = share > RESERVE_MAX   ? RESERVE_MAX
                           : share < RESERVE_MIN ? RESERVE_MIN
                                                 : share;
    store->has_reserve = st.st_size == (off_t)store->reserve_bytes;
    /* A full disk: opening a database takes some of it. It is made again when all is open. */
    if (!store->has_reserve || free_bytes(store) < usual_log_bytes(store))
        give_up_reserve(store);
    return 0;
}

/* --- the log and the file ----------------------------------------------------------------- */

/* Into the file with it, and cut it to nothing; a reader is waited for. False: it is as it was. */
static bool cut_log(struct store *store)
{
    return sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) ==
           SQLITE_OK;
}

int sqlite_limit_log(struct store *store, struct error *err)
{
    char text[96];
    store->page_bytes = (uint64_t)sqlite_number(store->db, "PRAGMA page_size");
    uint64_t bytes = usual_log_bytes(store);
    snprintf(text, sizeof(text), "PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = %d",
             (int)(bytes / store->page_bytes), (int)bytes);
    sqlite3_busy_timeout(store->db, 1000); /* checkpoints alone meet anybody: the reader */
    return sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : sqlite_error(err, store->db, text);
}

/*
 * A file that was made before pages went back has to be rewritten for that: whole or not at all, by
 * SQLite's own transaction. It takes its size in the log, and once more in the file if that grows.
 */
static void rewrite_old_file(struct store *store)
{
    if (sqlite_number(store->db, "PRAGMA auto_vacuum") != 0)
        return;
    uint64_t pages = (uint64_t)sqlite_number(store->db, "PRAGMA page_count");
    uint64_t used = pages * store->page_bytes - freed_bytes(store);
    if (used > REWRITE_MAX || free_bytes(store) < 3 * used + store->reserve_bytes) {
        log_info("the store's file is of an older kind: it does not shrink",
                 LOG_STR("file", store->path), LOG_INT("used_bytes", (int64_t)used));
        return;
    }
    if (sqlite3_exec(store->db, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM", NULL, NULL, NULL) !=
        SQLITE_OK)
        log_warn("the store's file could not be rewritten: it does not shrink",
                 LOG_STR("file", store->path), LOG_STR("detail", sqlite3_errmsg(store->db)));
}

void sqlite_settle_in(struct store *store)
{
    rewrite_old_file(store);
    if (!store->has_reserve)
        cut_log(store); /* what an earlier process left in it */
    make_reserve(store);
}

/* --- for the queue ------------------------------------------------------------------------ */

/*
 * New content is written twice, to the log and to the file, where freed pages take it; what the log
 * holds already may need its room in the file.
 */
bool sqlite_has_room(struct store *store, uint64_t bytes)
{
    if (store->path == NULL)
        return true;
    uint64_t left = free_bytes(store), log = usual_log_bytes(store);
    if (!store->has_reserve || left < bytes + log)
        return false;
    if (left - bytes - log >= bytes)
        return true;
    return left - bytes - log + freed_bytes(store) >= bytes;
}

int sqlite_relieve(struct store *store)
{
    if (store->path == NULL)
        return -1;
    bool had_reserve = store->has_reserve, had_log = log_bytes(store) > 0;
    if (had_reserve)
        give_up_reserve(store);
    bool cut = cut_log(store);
    return had_reserve || (had_log && cut) ? 0 : -1;
}

/* One slice; true: there are more pages to go. Some are left for the next mail, if there is room.
 */
static bool give_back_pages(struct store *store, bool narrow)
{
    uint64_t spare = narrow ? 0 : SPARE_PAGES * store->page_bytes, freed = freed_bytes(store);
    if (freed <= spare || sqlite_number(store->db, "PRAGMA auto_vacuum") != 2)
        return false;
    char text[64];
    uint64_t pages = (freed - spare) / store->page_bytes;
    snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%d)",
             (int)(pages < SLICE_PAGES ? pages : SLICE_PAGES));
    if (sqlite3_exec(store->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return false;
    store->gave_back = true;
    return pages > SLICE_PAGES;
}

bool sqlite_tidy(struct store *store)
{
    if (store->path == NULL)
        return false;
    bool narrow = !sqlite_has_room(store, 0);
    bool more = give_back_pages(store, narrow);
    /* The file itself gets shorter by a checkpoint only, however little there is in the log. */
    if (narrow || (!more && (store->gave_back || log_bytes(store) > SMALL_LOG)))
        store->gave_back &= !cut_log(store);
    make_reserve(store);
    return more;
}
