#include "oauth/vault/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LOCK_PATIENCE_MS = 10000, LOCK_POLL_MS = 10, READ_STEP = 16 << 10 };

void vault_file_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

static int fail(const char *path, const char *what, struct error *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return error_set(err, full ? ERR_STORE_FULL : ERR_STORE_UNAVAILABLE, "%s: %s: %s", path, what,
                     strerror(errno));
}

/* --- the lock ----------------------------------------------------------------------------- */

static bool wait_for_lock(int fd, const atomic_bool *hurry)
{
    const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000L};
    int64_t until_ms = clock_mono_ms() + LOCK_PATIENCE_MS;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || atomic_load(hurry) ||
            clock_mono_ms() >= until_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

int vault_file_lock(const char *path, const atomic_bool *hurry, int *fd_out, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(path, "cannot be opened", err);
    if (!wait_for_lock(fd, hurry)) {
        int rc = fail(path, "another process holds the lock", err);
        close(fd);
        return rc;
    }
    *fd_out = fd;
    return 0;
}

/* --- reading ------------------------------------------------------------------------------ */

int vault_file_open(const char *path, int *fd_out, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return fail(path, "cannot be opened", err);
    *fd_out = fd;
    return 0;
}

int vault_file_peek(int fd, void *out, size_t size, size_t *n_out, struct error *err)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = pread(fd, (char *)out + n, size - n, (off_t)n);
        if (got < 0 && errno != EINTR)
            return fail("the file of grants", "cannot be read", err);
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    *n_out = n;
    return 0;
}

int vault_file_read(int fd, struct buffer *out, struct error *err)
{
    for (;;) {
        char step[READ_STEP];
        ssize_t got = read(fd, step, sizeof(step));
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return fail("the file of grants", "cannot be read", err);
        if (got > 0 && buffer_append(out, step, (size_t)got) < 0)
            return error_set(err, ERR_STORE_BROKEN, "larger than a file of grants may be");
    }
}

/* --- replacing ---------------------------------------------------------------------------- */

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return false;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* What an earlier process left there is removed, not written to: it may be anything. */
static int write_new(const char *path, const void *data, size_t len, struct error *err)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return fail(path, "cannot be removed", err);
    CLEANUP(vault_file_close)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(path, "cannot be made", err);
    if (write_all(fd, data, len) && fsync(fd) == 0)
        return 0;
    int rc = fail(path, "cannot be written", err);
    unlink(path);
    return rc;
}

/* So that the name, too, outlives a power failure. */
static int sync_folder(const char *path, struct error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(folder, sizeof(folder), "%.*s", len, slash == NULL ? "." : path);
    CLEANUP(vault_file_close) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return fail(folder, "cannot be synced", err);
    return 0;
}

int vault_file_replace(const char *path, const void *data, size_t len, struct error *err)
{
    char fresh[PATH_MAX];
    if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
        return error_set(err, ERR_CONFIG, "%s: too long for a path", path);
    if (write_new(fresh, data, len, err) < 0)
        return -1;
    if (rename(fresh, path) < 0) {
        int rc = fail(path, "cannot be replaced", err);
        unlink(fresh);
        return rc;
    }
    return sync_folder(path, err);
}
