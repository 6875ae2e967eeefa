#include "oauth/vault.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/lock.h"
#include "oauth/vault_file.h"
#include "oauth/vault_image.h"
#include "oauth/vault_key.h"

struct vault {
    struct lock
        lock; /* guards the key and the image, and is held while files are read and written */
    struct arena *arena;
    const char *path; /* NULL: in memory only */
    const char *lock_path;
    const char *key_path; /* the key we make; NULL: one was given */
    bool has_key;         /* false: none is needed before something is stored */
    unsigned char key[VAULT_KEY_SIZE];
    struct buffer image; /* as it was last read or written; empty: there is no file */
};

/* Which file, if a part that knows only octets has said what is wrong with them. */
static int blame(const struct vault *vault, const struct error *why, struct error *err)
{
    return error_set(err, why->code, "%s: %s", vault->path, why->detail);
}

/* --- the key ------------------------------------------------------------------------------ */

/* Ours is there if one was ever needed. */
static int load_own_key(struct vault *vault, struct error *err)
{
    if (vault->has_key || access(vault->key_path, F_OK) < 0)
        return 0;
    if (vault_key_read(vault->key_path, vault->key, err) < 0)
        return -1;
    vault->has_key = true;
    return 0;
}

static int have_key(struct vault *vault, struct error *err)
{
    if (vault->has_key)
        return 0;
    if (load_own_key(vault, err) < 0)
        return -1;
    if (!vault->has_key && vault_key_make(vault->key_path, vault->key, err) < 0)
        return -1;
    vault->has_key = true;
    return 0;
}

static int take_key(struct vault *vault, const struct vault_settings *settings, struct error *err)
{
    if (settings->key != NULL) {
        if (vault_key_parse(settings->key, vault->key, err) < 0)
            return -1;
    } else if (settings->key_file != NULL) {
        if (vault_key_read(settings->key_file, vault->key, err) < 0)
            return -1;
    } else if (vault->path == NULL) {
        id_random(vault->key, sizeof(vault->key));
    } else {
        vault->key_path = arena_printf(vault->arena, "%s.key", vault->path);
        return vault->key_path != NULL ? load_own_key(vault, err)
                                       : error_set(err, ERR_NOMEM, "vault");
    }
    vault->has_key = true;
    return 0;
}

/* --- the file ----------------------------------------------------------------------------- */

static void set_image(struct vault *vault, struct buffer *image)
{
    buffer_clear(&vault->image);
    vault->image = *image;
    buffer_init(image, 0);
}

static int is_as_read(const struct vault *vault, int fd, bool *same_out, struct error *err)
{
    char head[VAULT_HEAD_SIZE];
    size_t n;
    if (vault_file_peek(fd, head, sizeof(head), &n, err) < 0)
        return -1;
    *same_out =
        n == sizeof(head) && vault->image.len >= n && memcmp(head, vault->image.data, n) == 0;
    return 0;
}

static int read_image(struct vault *vault, int fd, struct error *err)
{
    CLEANUP(buffer_clear) struct buffer image;
    struct error why;
    buffer_init(&image, VAULT_IMAGE_MAX);
    if (vault_file_read(fd, &image, &why) < 0)
        return blame(vault, &why, err);
    if (image.len == 0)
        return error_set(err, ERR_STORE_BROKEN, "%s: damaged: it is empty", vault->path);
    if (!vault->has_key && load_own_key(vault, err) < 0)
        return -1;
    if (!vault->has_key)
        return error_set(err, ERR_CONFIG,
                         "%s is there but its key is not: put %s back, or give the key it was "
                         "written with as POSTERN_SECRET_KEY",
                         vault->path, vault->key_path);
    if (vault_image_check(&image, vault->key, &why) < 0)
        return blame(vault, &why, err);
    set_image(vault, &image);
    return 0;
}

/* What another process has written meanwhile is seen. */
static int refresh(struct vault *vault, struct error *err)
{
    CLEANUP(vault_file_close) int fd = -1;
    bool same;
    if (vault->path == NULL)
        return 0;
    if (vault_file_open(vault->path, &fd, err) < 0)
        return -1;
    if (fd < 0) {
        buffer_clear(&vault->image);
        return 0;
    }
    if (is_as_read(vault, fd, &same, err) < 0)
        return -1;
    return same ? 0 : read_image(vault, fd, err);
}

/* `secret` NULL: it goes. Under the lock. */
static int change(struct vault *vault, const char *name, const char *secret, struct error *err)
{
    CLEANUP(vault_file_close) int guard = -1;
    CLEANUP(buffer_clear) struct buffer image;
    buffer_init(&image, VAULT_IMAGE_MAX);
    if (vault->path != NULL && vault_file_lock(vault->lock_path, &guard, err) < 0)
        return -1;
    if (refresh(vault, err) < 0 || have_key(vault, err) < 0 ||
        vault_image_put(&vault->image, vault->key, name, secret, &image, err) < 0)
        return -1;
    if (vault->path != NULL && vault_file_replace(vault->path, image.data, image.len, err) < 0)
        return -1;
    set_image(vault, &image);
    return 0;
}

/* --- the vault ---------------------------------------------------------------------------- */

static int set_up(struct vault *vault, const struct vault_settings *settings, struct error *err)
{
    if (settings->path != NULL) {
        vault->path = arena_strdup(vault->arena, settings->path);
        vault->lock_path = arena_printf(vault->arena, "%s.lock", settings->path);
        if (vault->path == NULL || vault->lock_path == NULL)
            return error_set(err, ERR_NOMEM, "vault");
    }
    if (take_key(vault, settings, err) < 0)
        return -1;
    return refresh(vault, err);
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

int vault_open(const struct vault_settings *settings, struct vault **vault_out, struct error *err)
{
    if (find_folder(settings->path, err) < 0)
        return -1;
    CLEANUP(vault_close) struct vault *vault = calloc(1, sizeof(*vault));
    if (vault == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    lock_init(&vault->lock);
    buffer_init(&vault->image, VAULT_IMAGE_MAX);
    vault->arena = arena_new();
    if (vault->arena == NULL)
        return error_set(err, ERR_NOMEM, "vault");
    if (set_up(vault, settings, err) < 0)
        return -1;
    *vault_out = TAKE(vault);
    return 0;
}

void vault_close(struct vault *vault)
{
    if (vault == NULL)
        return;
    explicit_bzero(vault->key, sizeof(vault->key));
    buffer_clear(&vault->image);
    arena_free(vault->arena);
    lock_clear(&vault->lock);
    free(vault);
}

int vault_get(struct vault *vault, const char *name, char **secret_out, struct error *err)
{
    lock_take(&vault->lock);
    int rc = refresh(vault, err);
    if (rc == 0)
        rc = vault_image_get(&vault->image, vault->key, name, secret_out, err);
    lock_drop(&vault->lock);
    return rc;
}

int vault_put(struct vault *vault, const char *name, const char *secret, struct error *err)
{
    lock_take(&vault->lock);
    int rc = change(vault, name, secret, err);
    lock_drop(&vault->lock);
    return rc;
}

int vault_delete(struct vault *vault, const char *name, struct error *err)
{
    return vault_put(vault, name, NULL, err);
}
