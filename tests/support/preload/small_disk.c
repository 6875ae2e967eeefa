/*
 * Put before the C library by LD_PRELOAD: the folder $SMALL_DISK is a disk of $SMALL_DISK_BYTES,
 * with all that lies in it (subfolders aside). Who has no right to mount can fill a disk this way.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static off_t in_blocks(off_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

static off_t disk_size(void)
{
    const char *bytes = getenv("SMALL_DISK_BYTES");
    return bytes != NULL ? atoll(bytes) : 0;
}

static off_t used(void)
{
    off_t sum = 0;
    struct stat st;
    DIR *folder = opendir(getenv("SMALL_DISK"));
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            sum += in_blocks(st.st_size);
    closedir(folder);
    return sum;
}

static bool is_there(int fd)
{
    char link[64], path[4096];
    const char *folder = getenv("SMALL_DISK");
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = folder != NULL ? readlink(link, path, sizeof(path) - 1) : -1;
    if (n < 0)
        return false;
    path[n] = '\0';
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* May the file become as long as that? */
static bool fits(int fd, off_t end)
{
    struct stat st;
    if (!is_there(fd) || fstat(fd, &st) < 0)
        return true;
    off_t more = in_blocks(end) - in_blocks(st.st_size);
    return more <= 0 || used() + more <= disk_size();
}

#define REAL(name, type)                                                                           \
    type real;                                                                                     \
    *(void **)&real = dlsym(RTLD_NEXT, name)

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    REAL("pwrite", pwrite_fn *);
    if (fits(fd, at + (off_t)len))
        return real(fd, data, len, at);
    errno = ENOSPC;
    return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    return pwrite(fd, data, len, at);
}

typedef int fallocate_fn(int, off_t, off_t);

int posix_fallocate(int fd, off_t at, off_t len)
{
    REAL("posix_fallocate", fallocate_fn *);
    return fits(fd, at + len) ? real(fd, at, len) : ENOSPC;
}

static void shrink(struct statvfs *fs)
{
    off_t size = disk_size(), left = size - used();
    fs->f_frsize = fs->f_bsize = BLOCK;
    fs->f_blocks = (fsblkcnt_t)(size / BLOCK);
    fs->f_bfree = fs->f_bavail = left > 0 ? (fsblkcnt_t)(left / BLOCK) : 0;
}

typedef int fstatvfs_fn(int, struct statvfs *);
typedef int statvfs_fn(const char *, struct statvfs *);

int fstatvfs(int fd, struct statvfs *fs)
{
    REAL("fstatvfs", fstatvfs_fn *);
    int rc = real(fd, fs);
    if (rc == 0 && is_there(fd))
        shrink(fs);
    return rc;
}

int statvfs(const char *path, struct statvfs *fs)
{
    REAL("statvfs", statvfs_fn *);
    int rc = real(path, fs);
    const char *folder = getenv("SMALL_DISK");
    if (rc == 0 && folder != NULL && strcmp(path, folder) == 0)
        shrink(fs);
    return rc;
}
