#include "oauth/vault/vault.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/background.h"
#include "base/id.h"
#include "base/lock.h"
#include "oauth/vault/file.h"
#include "oauth/vault/image.h"
#include "oauth/vault/key.h"

enum { PUTS_MAX = 64 };

/* The octets of the file, as they were read or written; never changed, counted. */
struct image {
    atomic_uint holders;
    struct buffer octets;
};

struct put {
    struct background_job job;
    struct vault *vault;     /* a reference */
    char *name, *secret;     /* owned */
    vault_stored_fn *stored; /* NULL: it was told; under the lock */
    void *arg;
};

struct vault {
    struct arena *arena;
    const char *path; /* NULL: in memory only */
    const char *lock_path;
    const char *key_path; /* the key we make; NULL: one was given */
    struct background *background;
    atomic_bool ended;
    atomic_uint holders; /* the owner, and each put that was posted */
    /* Whose turn it is to change the file. Held while it is read and written, by threads that may
     * wait; `lock` may be taken under it. */
    struct lock writing;
    /* Guards what follows. No file is touched and nothing taken under it. */
    struct lock lock;
    bool has_key;                      /* false: none is needed before something is stored */
    unsigned char key[VAULT_KEY_SIZE]; /* never another once there is one */
    struct image *image;               /* the newest; NULL: there is no file */
    struct put *under_way;             /* of those that were posted */
};

/* Which file, if a part that knows only octets has said what is wrong with them. */
static int blame(const struct vault *vault, const struct error *why, struct error *err)
{
    return error_set(err, why->code, "%s: %s", vault->path, why->detail);
}

/* --- images ------------------------------------------------------------------------------- */

static struct image *image_new(void)
{
    struct image *image = calloc(1, sizeof(*image));
    if (image == NULL)
        return NULL;
    image->holders = 1;
    buffer_init(&image->octets, VAULT_IMAGE_MAX);
    return image;
}

static void image_unref(struct image *image)
{
    if (image == NULL || atomic_fetch_sub(&image->holders, 1) > 1)
        return;
    buffer_clear(&image->octets);
    free(image);
}
DEFINE_CLEANUP(struct image *, image_unref)

/* A reference; NULL: there is none. */
static struct image *newest_image(struct vault *vault)
{
    lock_take(&vault->lock);
    struct image *image = vault->image;
    if (image != NULL)
        atomic_fetch_add(&image->holders, 1);
    lock_drop(&vault->lock);
    return image;
}

/* Takes a reference of its own. */
static void set_image(struct vault *vault, struct image *image)
{
    if (image != NULL)
        atomic_fetch_add(&image->holders, 1);
    lock_take(&vault->lock);
    struct image *old = vault->image;
    vault->image = image;
    lock_drop(&vault->lock);
    image_unref(old);
}

/* What vault_image functions take for a vault without records. */
static const struct buffer *octets_of(const struct image *image)
{
    static const struct buffer none;
    return image != NULL ? &image->octets : &none;
}

/* --- the key ------------------------------------------------------------------------------ */

static bool has_key(struct vault *vault)
{
    lock_take(&vault->lock);
    bool has = vault->has_key;
    lock_drop(&vault->lock);
    return has;
}

/* Wipes `key`. */
static void set_key(struct vault *vault, unsigned char key[VAULT_KEY_SIZE])
{
    lock_take(&vault->lock);
    if (!vault->has_key)
        memcpy(vault->key, key, VAULT_KEY_SIZE);
    vault->has_key = true;
    lock_drop(&vault->lock);
    explicit_bzero(key, VAULT_KEY_SIZE);
}

/* Ours is there if one was ever needed. */
static int load_own_key(struct vault *vault, struct error *err)
{
    unsigned char key[VAULT_KEY_SIZE];
    if (has_key(vault) || access(vault->key_path, F_OK) < 0)
        return 0;
    if (vault_key_read(vault->key_path, key, err) < 0)
        return -1;
    set_key(vault, key);
    return 0;
}

static int have_key(struct vault *vault, struct error *err)
{
    unsigned char key[VAULT_KEY_SIZE];
    if (load_own_key(vault, err) < 0)
        return -1;
    if (has_key(vault))
        return 0;
    if (vault_key_make(vault->key_path, key, err) < 0)
        return -1;
    set_key(vault, key);
    return 0;
}

static int take_key(struct vault *vault, const struct vault_settings *settings, struct error *err)
{
    unsigned char key[VAULT_KEY_SIZE];
    if (settings->key != NULL) {
        if (vault_key_parse(settings->key, key, err) < 0)
            return -1;
    } else if (settings->key_file != NULL) {
        if (vault_key_read(settings->key_file, key, err) < 0)
            return -1;
    } else if (vault->path == NULL) {
        id_random(key, sizeof(key));
    } else {
        vault->key_path = arena_printf(vault->arena, "%s.key", vault->path);
        return vault->key_path != NULL ? load_own_key(vault, err)
                                       : error_set(err, ERR_NOMEM, "vault");
    }
    set_key(vault, key);
    return 0;
}

/* --- the file ----------------------------------------------------------------------------- */

static int is_as_read(const struct image *image, int fd, bool *same_out, struct error *err)
{
    char head[VAULT_HEAD_SIZE];
    size_t n;
    if (vault_file_peek(fd, head, sizeof(head), &n, err) < 0)
        return -1;
    *same_out = n == sizeof(head) && image != NULL && image->octets.len >= n &&
                memcmp(head, image->octets.data, n) == 0;
    return 0;
}

static int read_image(struct vault *vault, int fd, struct image **image_out, struct error *err)
{
    CLEANUP(image_unref) struct image *image = image_new();
    struct error why;
    if (image == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    if (vault_file_read(fd, &image->octets, &why) < 0)
        return blame(vault, &why, err);
    if (image->octets.len == 0)
        return error_set(err, ERR_STORE_BROKEN, "%s: damaged: it is empty", vault->path);
    if (!has_key(vault) && load_own_key(vault, err) < 0)
        return -1;
    if (!has_key(vault))
        return error_set(err, ERR_CONFIG,
                         "%s is there but its key is not: put %s back, or give the key it was "
                         "written with as POSTERN_SECRET_KEY",
                         vault->path, vault->key_path);
    if (vault_image_check(&image->octets, vault->key, &why) < 0)
        return blame(vault, &why, err);
    *image_out = TAKE(image);
    return 0;
}

/* What another process has written meanwhile is seen. A reference; NULL: there is no file. */
static int look(struct vault *vault, struct image **image_out, struct error *err)
{
    CLEANUP(vault_file_close) int fd = -1;
    CLEANUP(image_unref) struct image *known = newest_image(vault);
    struct image *found = NULL;
    bool same;
    if (vault->path == NULL) {
        *image_out = TAKE(known);
        return 0;
    }
    if (vault_file_open(vault->path, &fd, err) < 0 ||
        (fd >= 0 && is_as_read(known, fd, &same, err) < 0))
        return -1;
    if (fd >= 0 && same) {
        *image_out = TAKE(known);
        return 0;
    }
    if (fd >= 0 && read_image(vault, fd, &found, err) < 0)
        return -1;
    set_image(vault, found);
    *image_out = found;
    return 0;
}

/* Whoever reads meanwhile reads the old. */
static int change(struct vault *vault, const char *name, const char *secret, struct error *err)
{
    CLEANUP(vault_file_close) int guard = -1;
    CLEANUP(image_unref) struct image *old = NULL;
    CLEANUP(image_unref) struct image *fresh = image_new();
    if (fresh == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    if (vault->path != NULL && vault_file_lock(vault->lock_path, &vault->ended, &guard, err) < 0)
        return -1;
    if (look(vault, &old, err) < 0 || have_key(vault, err) < 0 ||
        vault_image_put(octets_of(old), vault->key, name, secret, &fresh->octets, err) < 0)
        return -1;
    if (vault->path != NULL &&
        vault_file_replace(vault->path, fresh->octets.data, fresh->octets.len, err) < 0)
        return -1;
    set_image(vault, fresh);
    return 0;
}

/* --- its life ----------------------------------------------------------------------------- */

static int set_up(struct vault *vault, const struct vault_settings *settings, struct error *err)
{
    CLEANUP(image_unref) struct image *image = NULL;
    vault->arena = arena_new();
    vault->background = background_new("vault", PUTS_MAX);
    if (vault->arena == NULL || vault->background == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    if (settings->path != NULL) {
        vault->path = arena_strdup(vault->arena, settings->path);
        vault->lock_path = arena_printf(vault->arena, "%s.lock", settings->path);
        if (vault->path == NULL || vault->lock_path == NULL)
            return error_set(err, ERR_NOMEM, "vault");
    }
    if (take_key(vault, settings, err) < 0)
        return -1;
    return look(vault, &image, err);
}

/* Told at the start, not when the first grant is to be stored. */
static int find_folder(const char *path, struct error *err)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    if (slash == NULL || slash == path)
        return 0;
    char *folder = strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    int rc = access(folder, F_OK) == 0
                 ? 0
                 : error_set(err, ERR_CONFIG, "%s: no such folder, for the grants", folder);
    free(folder);
    return rc;
}

static void let_go(struct vault *vault)
{
    if (atomic_fetch_sub(&vault->holders, 1) > 1)
        return;
    explicit_bzero(vault->key, sizeof(vault->key));
    image_unref(vault->image);
    background_free(vault->background);
    arena_free(vault->arena);
    lock_clear(&vault->lock);
    lock_clear(&vault->writing);
    free(vault);
}

int vault_open(const struct vault_settings *settings, struct vault **vault_out, struct error *err)
{
    if (find_folder(settings->path, err) < 0)
        return -1;
    CLEANUP(vault_close) struct vault *vault = calloc(1, sizeof(*vault));
    if (vault == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    vault->holders = 1;
    lock_init(&vault->lock);
    lock_init(&vault->writing);
    if (set_up(vault, settings, err) < 0)
        return -1;
    *vault_out = TAKE(vault);
    return 0;
}

/* --- reading and writing ------------------------------------------------------------------ */

int vault_get(struct vault *vault, const char *name, char **secret_out, struct error *err)
{
    CLEANUP(image_unref) struct image *image = NULL;
    if (look(vault, &image, err) < 0)
        return -1;
    return vault_image_get(octets_of(image), vault->key, name, secret_out, err);
}

int vault_put(struct vault *vault, const char *name, const char *secret, struct error *err)
{
    lock_take(&vault->writing);
    int rc = change(vault, name, secret, err);
    lock_drop(&vault->writing);
    return rc;
}

/* --- puts in the background --------------------------------------------------------------- */

static void put_free(struct put *put)
{
    if (put->secret != NULL)
        explicit_bzero(put->secret, strlen(put->secret));
    free(put->secret);
    free(put->name);
    free(put);
}

/* Whoever comes first tells, the thread or the end. Under no lock. */
static void tell(struct vault *vault, struct put *put, const struct error *err)
{
    lock_take(&vault->lock);
    vault_stored_fn *stored = put->stored;
    void *arg = put->arg;
    put->stored = NULL;
    lock_drop(&vault->lock);
    if (stored != NULL)
        stored(arg, err);
}

static void drop_put(struct background_job *job)
{
    struct put *put = (struct put *)job; /* its first member */
    struct vault *vault = put->vault;
    struct error err;
    error_set(&err, ERR_DRAINING, "the gateway ends");
    tell(vault, put, &err);
    put_free(put);
    let_go(vault);
}

/* false: it came to its turn too late. */
static bool begin_put(struct vault *vault, struct put *put)
{
    lock_take(&vault->lock);
    bool begun = !vault->ended;
    if (begun)
        vault->under_way = put;
    lock_drop(&vault->lock);
    return begun;
}

static void run_put(struct background_job *job)
{
    struct put *put = (struct put *)job; /* its first member */
    struct vault *vault = put->vault;
    struct error err = {0};
    if (!begin_put(vault, put)) {
        drop_put(job);
        return;
    }
    vault_put(vault, put->name, put->secret, &err);
    lock_take(&vault->lock);
    vault->under_way = NULL; /* the end does not see it any more */
    lock_drop(&vault->lock);
    tell(vault, put, &err);
    put_free(put);
    let_go(vault);
}

int vault_put_later(struct vault *vault, const char *name, const char *secret,
                    vault_stored_fn *stored, void *arg, struct error *err)
{
    struct put *put = calloc(1, sizeof(*put));
    if (put == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    *put = (struct put){.job.run = run_put,
                        .job.drop = drop_put,
                        .vault = vault,
                        .stored = stored,
                        .arg = arg,
                        .name = strdup(name),
                        .secret = strdup(secret)};
    int rc = put->name != NULL && put->secret != NULL ? 0 : error_set(err, ERR_NOMEM, "vault");
    atomic_fetch_add(&vault->holders, 1);
    if (rc == 0)
        rc = background_post(vault->background, &put->job, err);
    if (rc < 0) {
        put_free(put);
        let_go(vault);
    }
    return rc;
}

int vault_run(struct vault *vault, struct background_job *job, struct error *err)
{
    return background_post(vault->background, job, err);
}

void vault_end(struct vault *vault)
{
    struct error err;
    vault_stored_fn *stored = NULL;
    void *arg = NULL;
    error_set(&err, ERR_DRAINING, "the gateway ends");
    lock_take(&vault->lock);
    vault->ended = true;
    if (vault->under_way != NULL) {
        stored = vault->under_way->stored;
        arg = vault->under_way->arg;
        vault->under_way->stored = NULL;
    }
    lock_drop(&vault->lock);
    if (stored != NULL)
        stored(arg, &err);
    background_end(vault->background);
}

void vault_close(struct vault *vault)
{
    if (vault == NULL)
        return;
    if (vault->background != NULL)
        vault_end(vault);
    let_go(vault);
}
