/*
 * Put before the C library by LD_PRELOAD: how often each thread asks for memory and calls the
 * kernel. The counts are in the file $COUNTS, mapped and shared, so that they can be read at any
 * moment; each thread counts in a row of its own:
 *
 *     16 octets of thread name, then N_CALLS counters of 8 octets, in the order of CALLS
 *
 * Counted is what goes through the C library's functions: so not what waits for a lock or reads
 * the clock, and not what the C library does by itself.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* clang-format off: it moves these at each run */
#define CALLS(X)                                                                                   \
    X(memory)                                                                                      \
    X(recv)                                                                                        \
    X(read)                                                                                        \
    X(readv)                                                                                       \
    X(send)                                                                                        \
    X(sendmsg)                                                                                     \
    X(write)                                                                                       \
    X(writev)                                                                                      \
    X(accept)                                                                                      \
    X(epoll_wait)                                                                                  \
    X(epoll_ctl)                                                                                   \
    X(pread)                                                                                       \
    X(pwrite)                                                                                      \
    X(fsync)                                                                                       \
    X(lseek)                                                                                       \
    X(ftruncate)                                                                                   \
    X(setsockopt)                                                                                  \
    X(shutdown)                                                                                    \
    X(close)

#define NUMBER(name) OF_##name,
enum call { CALLS(NUMBER) N_CALLS };

enum { N_ROWS = 512 };

struct row {
    char name[16];
    uint64_t counts[N_CALLS];
};

static struct row spare[1]; /* without a file, and for threads beyond N_ROWS */
static struct row *rows;
static atomic_uint n_rows;
static _Thread_local struct row *mine __attribute__((tls_model("initial-exec")));

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

__attribute__((constructor)) static void open_file(void)
{
    const char *file = getenv("COUNTS");
    int fd = file != NULL
                 ? (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600)
                 : -1;
    if (fd < 0)
        return;
    void *map =
        syscall(SYS_ftruncate, fd, N_ROWS * sizeof(struct row)) == 0
            ? mmap(NULL, N_ROWS * sizeof(struct row), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
            : MAP_FAILED;
    syscall(SYS_close, fd);
    mine = NULL;
    rows = map != MAP_FAILED ? map : NULL;
}

/* Names are given after a thread's start, so they are looked up again now and then. */
static void count(enum call call)
{
    if (rows == NULL)
        return;
    if (mine == NULL) {
        unsigned n = atomic_fetch_add(&n_rows, 1);
        mine = n < N_ROWS ? &rows[n] : spare;
    }
    if (mine->counts[call]++ % 64 == 0) {
        int before = errno;
        pthread_getname_np(pthread_self(), mine->name, sizeof(mine->name));
        errno = before;
    }
}

/* --- memory ------------------------------------------------------------------------------- */

void *malloc(size_t size)
{
    count(OF_memory);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count(OF_memory);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count(OF_memory);
    return __libc_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    count(OF_memory);
    return __libc_memalign(align, size);
}

int posix_memalign(void **p, size_t align, size_t size)
{
    count(OF_memory);
    *p = __libc_memalign(align, size);
    return *p != NULL ? 0 : ENOMEM;
}

/* --- the kernel --------------------------------------------------------------------------- */

#define REAL(name)                                                                                 \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, name)

/* `shown`: with types, `given`: without. The library's own headers declare not all of them. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wpedantic"
#define CALL(counted, type, name, shown, given)                                                    \
    type name shown                                                                                \
    {                                                                                              \
        static type(*real) shown;                                                                  \
        REAL(#name);                                                                               \
        count(OF_##counted);                                                                       \
        return real given;                                                                         \
    }

CALL(recv, ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags))
CALL(recv, ssize_t, __recv_chk, (int fd, void *buf, size_t n, size_t size, int flags),
     (fd, buf, n, size, flags))
CALL(recv, ssize_t, recvfrom,
     (int fd, void *restrict buf, size_t n, int flags, struct sockaddr *restrict from,
      socklen_t *restrict len),
     (fd, buf, n, flags, from, len))
CALL(read, ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n))
CALL(read, ssize_t, __read_chk, (int fd, void *buf, size_t n, size_t size), (fd, buf, n, size))
CALL(readv, ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n))
CALL(send, ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags))
CALL(sendmsg, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
CALL(write, ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n))
CALL(writev, ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
CALL(accept, int, accept4,
     (int fd, struct sockaddr *restrict from, socklen_t *restrict len, int flags),
     (fd, from, len, flags))
CALL(epoll_wait, int, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout),
     (fd, events, n, timeout))
CALL(epoll_wait, int, epoll_pwait,
     (int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set),
     (fd, events, n, timeout, set))
CALL(epoll_ctl, int, epoll_ctl, (int fd, int op, int of, struct epoll_event *event),
     (fd, op, of, event))
CALL(pread, ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at))
CALL(pread, ssize_t, pread64, (int fd, void *buf, size_t n, off64_t at), (fd, buf, n, at))
CALL(pwrite, ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at), (fd, buf, n, at))
CALL(pwrite, ssize_t, pwrite64, (int fd, const void *buf, size_t n, off64_t at), (fd, buf, n, at))
CALL(pwrite, ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
CALL(pwrite, ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at))
CALL(fsync, int, fsync, (int fd), (fd))
CALL(fsync, int, fdatasync, (int fd), (fd))
CALL(lseek, off64_t, lseek64, (int fd, off64_t at, int whence), (fd, at, whence))
CALL(ftruncate, int, ftruncate64, (int fd, off64_t len), (fd, len))
CALL(setsockopt, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len))
CALL(shutdown, int, shutdown, (int fd, int how), (fd, how))
CALL(close, int, close, (int fd), (fd))
