/*
 * Put before the C library by LD_PRELOAD: what may wait for a disk, a resolver or another process's
 * lock is written to the file $CALLS, a line each:
 *
 *     KIND THREAD CALL PATH
 *
 * KIND is "loop" for a thread that has ever waited by epoll, else "other"; THREAD is its name. That
 * a thread is a loop is a line, too, with the call "epoll".
 */

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local bool is_loop;

#define REAL(name) *(void **)&real = dlsym(RTLD_NEXT, name)

static void note(const char *call, const char *path)
{
    static int calls = -1;
    char line[512], name[32] = "";
    const char *file = getenv("CALLS");
    if (calls < 0 && file != NULL)
        calls = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                             0600);
    pthread_getname_np(pthread_self(), name, sizeof(name));
    for (char *c = name; *c != '\0'; c++)
        *c = *c == ' ' ? '_' : *c;
    int n = snprintf(line, sizeof(line), "%s %s %s %s\n", is_loop ? "loop" : "other", name, call,
                     path != NULL ? path : "-");
    if (calls >= 0 && n > 0)
        (void)!write(calls, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static void note_loop(void)
{
    if (!is_loop) {
        is_loop = true;
        note("epoll", NULL);
    }
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    int (*real)(int, struct epoll_event *, int, int);
    REAL("epoll_wait");
    note_loop();
    return real(fd, events, n, timeout);
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set)
{
    int (*real)(int, struct epoll_event *, int, int, const sigset_t *);
    REAL("epoll_pwait");
    note_loop();
    return real(fd, events, n, timeout, set);
}

/* --- opening ------------------------------------------------------------------------------ */

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        int (*real)(const char *, int, ...);                                                       \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;             \
        va_end(args);                                                                              \
        REAL(#name);                                                                               \
        note("open", path);                                                                        \
        return real(path, flags, mode);                                                            \
    }
#define OPENAT(name)                                                                               \
    int name(int fd, const char *path, int flags, ...)                                             \
    {                                                                                              \
        int (*real)(int, const char *, int, ...);                                                  \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;             \
        va_end(args);                                                                              \
        REAL(#name);                                                                               \
        note("open", path);                                                                        \
        return real(fd, path, flags, mode);                                                        \
    }
#define FOPEN(name)                                                                                \
    FILE *name(const char *restrict path, const char *restrict mode)                               \
    {                                                                                              \
        FILE *(*real)(const char *, const char *);                                                 \
        REAL(#name);                                                                               \
        note("fopen", path);                                                                       \
        return real(path, mode);                                                                   \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)

DIR *opendir(const char *path)
{
    DIR *(*real)(const char *);
    REAL("opendir");
    note("opendir", path);
    return real(path);
}

/* --- looking ------------------------------------------------------------------------------ */

#define STAT(name, type)                                                                           \
    int name(const char *restrict path, struct type *restrict st)                                  \
    {                                                                                              \
        int (*real)(const char *, struct type *);                                                  \
        REAL(#name);                                                                               \
        note("stat", path);                                                                        \
        return real(path, st);                                                                     \
    }
STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)

int access(const char *path, int mode)
{
    int (*real)(const char *, int);
    REAL("access");
    note("access", path);
    return real(path, mode);
}

/* --- changing, and waiting ---------------------------------------------------------------- */

#define OF_FD(name)                                                                                \
    int name(int fd)                                                                               \
    {                                                                                              \
        int (*real)(int);                                                                          \
        REAL(#name);                                                                               \
        note(#name, NULL);                                                                         \
        return real(fd);                                                                           \
    }
OF_FD(fsync)
OF_FD(fdatasync)
OF_FD(syncfs)

int flock(int fd, int operation)
{
    int (*real)(int, int);
    REAL("flock");
    note("flock", NULL);
    return real(fd, operation);
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *);
    REAL("rename");
    note("rename", to);
    return real(from, to);
}

int unlink(const char *path)
{
    int (*real)(const char *);
    REAL("unlink");
    note("unlink", path);
    return real(path);
}

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    REAL("getaddrinfo");
    if (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0)
        note("getaddrinfo", host);
    return real(host, port, hints, list);
}
