#include "base/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"

enum {
    LOOK_MS = 1000,
    FILES_MAX = 8,
    CONTENT_MAX = 1 << 20, /* of what is compared */
    DIGEST_SIZE = 32,
    SETTLED_S = 2, /* what has not changed for so long would show it if it changed: file systems
                      have times as coarse as that */
};

/* What tells that a file is not the one that was read. Zero: there is none. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct note {
    char *path; /* owned */
    struct stamp stamp;
};

struct reload_notes {
    bool first;
    struct note items[FILES_MAX];
    size_t n;
    bool unsettled; /* one of them may change and look the same */
    EVP_MD_CTX *digest;
    unsigned char content[DIGEST_SIZE];
};

struct reload {
    const struct reload_kind *kind;
    void *recipe;
    atomic_uint holders; /* the owner, and the reloader */
    atomic_bool ended;   /* the owner is gone */
    atomic_flag looking; /* guards what follows, up to the lock */
    struct reload_notes notes;
    bool failed;
    struct error failure, told; /* the last one, and the last that was told */
    struct reload *next;        /* of the reloader's */

    struct lock lock; /* guards `made`; no file is touched and nothing taken under it */
    void *made;
    _Atomic(uint64_t) version;
};

struct reloader {
    struct lock lock; /* guards what follows; nothing is taken under it */
    struct reload *reloads;
    uint64_t n_kicks, n_seen;
    unsigned holders; /* the owner, and the thread */
    bool ended;
};

/* --- files -------------------------------------------------------------------------------- */

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){.device = st->st_dev,
                          .inode = st->st_ino,
                          .size = st->st_size,
                          .modified = st->st_mtim,
                          .changed = st->st_ctim};
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

/* A clock that is behind, here or on the server the file is on, makes it unsettled for longer. */
static bool is_settled(const struct stat *st)
{
    int64_t now_s = clock_wall_ms() / 1000;
    return st->st_mtim.tv_sec < now_s - SETTLED_S && st->st_ctim.tv_sec < now_s - SETTLED_S;
}

static void add_content(struct reload_notes *notes, const char *path)
{
    unsigned char step[4096];
    size_t n = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd >= 0 && n < CONTENT_MAX && (got = read(fd, step, sizeof(step))) > 0) {
        EVP_DigestUpdate(notes->digest, step, (size_t)got);
        n += (size_t)got;
    }
    notes->unsettled |= fd < 0 || got < 0; /* then the content is not known */
    if (fd >= 0)
        close(fd);
    explicit_bzero(step, sizeof(step));
}

static void add_note(struct reload_notes *notes, const char *path, const struct stamp *stamp)
{
    char *copy = notes->n < FILES_MAX ? strdup(path) : NULL;
    if (copy != NULL)
        notes->items[notes->n++] = (struct note){.path = copy, .stamp = *stamp};
    else
        notes->unsettled = true;
}

bool reload_note(struct reload_notes *notes, const char *path)
{
    struct stat st;
    struct stamp stamp = {0};
    if (path == NULL)
        return true;
    bool found = stat(path, &st) == 0;
    bool readable = found && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
    if (found && !readable)
        return notes->first; /* and never looked at again */
    if (found) {
        stamp = stamp_of(&st);
        notes->unsettled |= !is_settled(&st);
    }
    add_note(notes, path, &stamp);
    EVP_DigestUpdate(notes->digest, path, strlen(path) + 1);
    if (!found || S_ISDIR(st.st_mode))
        EVP_DigestUpdate(notes->digest, &stamp.changed, sizeof(stamp.changed));
    else
        add_content(notes, path);
    return true;
}

static int notes_begin(struct reload_notes *notes, bool first)
{
    *notes = (struct reload_notes){.first = first, .digest = EVP_MD_CTX_new()};
    return notes->digest != NULL && EVP_DigestInit_ex(notes->digest, EVP_sha256(), NULL) == 1 ? 0
                                                                                              : -1;
}

static void notes_end(struct reload_notes *notes)
{
    if (notes->digest != NULL)
        EVP_DigestFinal_ex(notes->digest, notes->content, NULL);
    EVP_MD_CTX_free(notes->digest);
    notes->digest = NULL;
}

static void notes_clear(struct reload_notes *notes)
{
    while (notes->n > 0)
        free(notes->items[--notes->n].path);
    explicit_bzero(notes->content, sizeof(notes->content));
}

static bool has_changed(const struct reload_notes *notes)
{
    for (size_t i = 0; i < notes->n; i++) {
        struct stat st;
        struct stamp now = {0};
        if (stat(notes->items[i].path, &st) == 0)
            now = stamp_of(&st);
        if (!same_stamp(&now, &notes->items[i].stamp))
            return true;
    }
    return false;
}

/* --- making ------------------------------------------------------------------------------- */

static void publish(struct reload *r, void *made)
{
    lock_take(&r->lock);
    void *old = r->made;
    r->made = made;
    lock_drop(&r->lock);
    atomic_fetch_add(&r->version, 1);
    r->kind->unref(old);
}

/* Two files are seldom replaced in the same instant, and one that is gone is being replaced: what
 * goes wrong is told when it goes wrong twice. */
static void note_failure(struct reload *r, const struct error *err)
{
    bool again = r->failed && strcmp(r->failure.detail, err->detail) == 0;
    r->failed = true;
    r->failure = *err;
    if (!again || strcmp(r->told.detail, err->detail) == 0 || r->kind->told == NULL)
        return;
    r->told = *err;
    r->kind->told(r->recipe, err);
}

static bool is_another(const struct reload *r, const struct reload_notes *notes, const void *made)
{
    if (r->kind->same != NULL)
        return !r->kind->same(r->made, made); /* only who looks ever sets it */
    return memcmp(notes->content, r->notes.content, DIGEST_SIZE) != 0;
}

static void make_anew(struct reload *r)
{
    struct reload_notes notes;
    struct error err = {0};
    void *made = NULL;
    int rc = notes_begin(&notes, false) < 0 ? error_set(&err, ERR_NOMEM, "no memory")
                                            : r->kind->load(r->recipe, &notes, &made, &err);
    notes_end(&notes);
    bool another = rc == 0 && is_another(r, &notes, made);
    if (rc < 0) /* what is published was made of other contents */
        memcpy(notes.content, r->notes.content, DIGEST_SIZE);
    notes_clear(&r->notes);
    r->notes = notes;
    if (rc < 0) {
        note_failure(r, &err);
        return;
    }
    r->failed = false;
    r->told.detail[0] = '\0';
    if (!another) {
        r->kind->unref(made);
        return;
    }
    publish(r, made);
    if (r->kind->told != NULL)
        r->kind->told(r->recipe, NULL);
}

void reload_look(struct reload *r)
{
    if (atomic_flag_test_and_set(&r->looking))
        return; /* somebody else does */
    if (r->failed || r->notes.unsettled || has_changed(&r->notes))
        make_anew(r);
    atomic_flag_clear(&r->looking);
}

/* --- its life ----------------------------------------------------------------------------- */

static void let_go(struct reload *r)
{
    if (atomic_fetch_sub(&r->holders, 1) > 1)
        return;
    if (r->made != NULL)
        r->kind->unref(r->made);
    r->kind->drop(r->recipe);
    notes_clear(&r->notes);
    lock_clear(&r->lock);
    free(r);
}

static int first_load(struct reload *r, void *made, struct error *err)
{
    r->made = made;
    if (made != NULL) {
        r->notes.unsettled = true;
        return 0;
    }
    int rc = notes_begin(&r->notes, true) < 0 ? error_set(err, ERR_NOMEM, "no memory")
                                              : r->kind->load(r->recipe, &r->notes, &r->made, err);
    notes_end(&r->notes);
    return rc;
}

static void add(struct reloader *reloader, struct reload *r)
{
    atomic_fetch_add(&r->holders, 1);
    lock_take(&reloader->lock);
    r->next = reloader->reloads;
    reloader->reloads = r;
    lock_drop(&reloader->lock);
}

int reload_new(const struct reload_kind *kind, void *recipe, void *made, struct reloader *reloader,
               struct reload **reload_out, struct error *err)
{
    struct reload *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        kind->drop(recipe);
        if (made != NULL)
            kind->unref(made);
        return error_set(err, ERR_NOMEM, "no memory");
    }
    r->kind = kind;
    r->recipe = recipe;
    r->holders = 1;
    atomic_flag_clear(&r->looking);
    lock_init(&r->lock);
    if (first_load(r, made, err) < 0) {
        let_go(r);
        return -1;
    }
    if (reloader != NULL)
        add(reloader, r);
    *reload_out = r;
    return 0;
}

void reload_free(struct reload *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->ended, true);
    let_go(r);
}

void *reload_take(struct reload *r)
{
    lock_take(&r->lock);
    void *made = r->made;
    r->kind->ref(made);
    lock_drop(&r->lock);
    return made;
}

uint64_t reload_version(const struct reload *r)
{
    return atomic_load(&r->version);
}

/* --- the thread --------------------------------------------------------------------------- */

static void reloader_let_go(struct reloader *reloader)
{
    lock_take(&reloader->lock);
    bool last = --reloader->holders == 0;
    lock_drop(&reloader->lock);
    if (!last)
        return;
    lock_clear(&reloader->lock);
    free(reloader);
}

/* Those whose owner is gone, unlinked. Under the lock. */
static struct reload *take_ended(struct reloader *reloader)
{
    struct reload *ended = NULL;
    for (struct reload **at = &reloader->reloads; *at != NULL;) {
        struct reload *r = *at;
        if (!reloader->ended && !atomic_load(&r->ended)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = ended;
        ended = r;
    }
    return ended;
}

static void look_at_all(struct reload *list)
{
    for (struct reload *r = list; r != NULL; r = r->next)
        if (!atomic_load(&r->ended))
            reload_look(r);
}

static void let_all_go(struct reload *list)
{
    for (struct reload *next; list != NULL; list = next) {
        next = list->next;
        let_go(list);
    }
}

/* Only this thread unlinks, so the list can be gone through without the lock. */
static void run(void *arg)
{
    struct reloader *reloader = arg;
    lock_take(&reloader->lock);
    while (!reloader->ended) {
        uint64_t kick = reloader->n_kicks;
        struct reload *ended = take_ended(reloader), *list = reloader->reloads;
        lock_drop(&reloader->lock);
        let_all_go(ended);
        look_at_all(list);
        lock_take(&reloader->lock);
        reloader->n_seen = kick;
        int64_t next_ms = clock_mono_ms() + LOOK_MS;
        while (!reloader->ended && reloader->n_kicks == kick && clock_mono_ms() < next_ms)
            lock_wait(&reloader->lock, next_ms);
    }
    struct reload *left = take_ended(reloader);
    lock_drop(&reloader->lock);
    let_all_go(left);
    reloader_let_go(reloader);
}

int reloader_start(struct reloader **reloader_out, struct error *err)
{
    struct reloader *reloader = calloc(1, sizeof(*reloader));
    if (reloader == NULL)
        return error_set(err, ERR_NOMEM, "no memory");
    lock_init(&reloader->lock);
    reloader->holders = 2;
    if (thread_start("files", run, reloader) < 0) {
        lock_clear(&reloader->lock);
        free(reloader);
        return error_set(err, ERR_NOMEM, "no thread to be had for files");
    }
    *reloader_out = reloader;
    return 0;
}

void reloader_stop(struct reloader *reloader)
{
    if (reloader == NULL)
        return;
    lock_take(&reloader->lock);
    reloader->ended = true;
    lock_signal(&reloader->lock);
    lock_drop(&reloader->lock);
    reloader_let_go(reloader);
}

uint64_t reloader_kick(struct reloader *reloader)
{
    lock_take(&reloader->lock);
    uint64_t kick = ++reloader->n_kicks;
    lock_signal(&reloader->lock);
    lock_drop(&reloader->lock);
    return kick;
}

bool reloader_has_looked(struct reloader *reloader, uint64_t kick)
{
    lock_take(&reloader->lock);
    bool looked = reloader->n_seen >= kick;
    lock_drop(&reloader->lock);
    return looked;
}
