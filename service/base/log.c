#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log_line.h"
#include "base/metric.h"

enum {
    RING_OCTETS = 1 << 20, /* some 5,000 lines */
    BATCH_OCTETS =
        64 << 10,           /* of one write: what a pipe holds. Room is made by as much at a time */
    GATHER_MS = 10,         /* between two writes, unless there is enough for one before */
    AGAIN_FULL_MS = 20,     /* somebody made stderr non-blocking, and it is full */
    AGAIN_FAILED_MS = 1000, /* no reader, no space: it may come back */
};

enum way { WAY_DIRECT, WAY_RING, WAY_NOWHERE };

static atomic_int configured_level = LOG_LEVEL_INFO;
static atomic_int configured_format = LOG_FORMAT_LOGFMT;
static atomic_int way = WAY_DIRECT;
static struct metric *dropped_total, *waiting_bytes;

/* Static, so that a thread which is stuck in its write() always has what it is writing. */
static struct {
    struct lock lock;    /* guards all below, and what `data` holds beyond `head`; nothing is taken
                            under it */
    uint64_t head, tail; /* octets that were ever put in, and that were ever written */
    uint64_t n_dropped;  /* lines that the log itself does not know of yet */
    bool idle;           /* the thread waits for lines, */
    bool gathering;      /* or for more of them */
    bool stop, stopped;
    pthread_t thread;
    char data[RING_OCTETS];
} ring;

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store(&configured_level, level);
    atomic_store(&configured_format, format);
}

static size_t format_now(enum log_level level, const char *msg, const struct log_field *fields,
                         size_t n_fields, char out[LOG_LINE_SIZE])
{
    int format = atomic_load_explicit(&configured_format, memory_order_relaxed);
    return log_line_format((enum log_format)format, clock_wall_ms(), level, msg, fields, n_fields,
                           out);
}

/* --- the ring ----------------------------------------------------------------------------- */

static size_t room(void)
{
    return RING_OCTETS - (size_t)(ring.head - ring.tail);
}

static void put(const char *line, size_t len)
{
    assert(lock_held_by_me(&ring.lock));
    size_t at = ring.head % RING_OCTETS;
    size_t first = len < RING_OCTETS - at ? len : RING_OCTETS - at;
    memcpy(ring.data + at, line, first);
    memcpy(ring.data, line + first, len - first);
    ring.head += len;
    metric_set(waiting_bytes, (int64_t)(ring.head - ring.tail));
}

/* Where the lines are missing, if room is left for `more` octets behind it. */
static void tell_dropped(size_t more)
{
    char line[LOG_LINE_SIZE];
    if (ring.n_dropped == 0)
        return;
    const struct log_field n = LOG_INT("n", (int64_t)ring.n_dropped);
    size_t len = format_now(LOG_LEVEL_WARN, "log lines dropped", &n, 1, line);
    if (len + more > room())
        return;
    put(line, len);
    ring.n_dropped = 0;
}

static bool enough(void)
{
    return ring.head - ring.tail >= BATCH_OCTETS;
}

/* False: the thread has come to its end. */
static bool put_or_drop(const char *line, size_t len)
{
    lock_take(&ring.lock);
    bool open = !ring.stopped;
    if (open) {
        tell_dropped(len);
        if (ring.n_dropped == 0 && len <= room()) {
            put(line, len);
        } else {
            ring.n_dropped++;
            metric_add(dropped_total, 1);
        }
        if (ring.idle || (ring.gathering && enough()))
            lock_signal(&ring.lock);
    }
    lock_drop(&ring.lock);
    return open;
}

/* --- the thread --------------------------------------------------------------------------- */

static int oldest(struct iovec parts[2])
{
    size_t len = (size_t)(ring.head - ring.tail), at = ring.tail % RING_OCTETS;
    if (len > BATCH_OCTETS)
        len = BATCH_OCTETS;
    size_t first = len < RING_OCTETS - at ? len : RING_OCTETS - at;
    parts[0] = (struct iovec){ring.data + at, first};
    parts[1] = (struct iovec){ring.data, len - first};
    return parts[1].iov_len > 0 ? 2 : 1;
}

/* Others who log do not end the pause: a stderr that fails would else be tried at every line. */
static void pause_after(int why)
{
    bool full = why == EAGAIN || why == EWOULDBLOCK;
    int64_t until_ms = clock_mono_ms() + (full ? AGAIN_FULL_MS : AGAIN_FAILED_MS);
    if (ring.stop && !full)
        ring.tail = ring.head; /* it will not come back in time */
    while ((full || !ring.stop) && clock_mono_ms() < until_ms)
        lock_wait(&ring.lock, until_ms);
}

/* What a write left over is where the next one begins, so a line is whole in the end. */
static void write_oldest(void)
{
    struct iovec parts[2];
    int n_parts = oldest(parts);
    lock_drop(&ring.lock);
    ssize_t n = writev(STDERR_FILENO, parts, n_parts);
    int why = errno;
    lock_take(&ring.lock);
    if (n > 0) {
        ring.tail += (size_t)n;
        metric_set(waiting_bytes, (int64_t)(ring.head - ring.tail));
    } else if (n == 0 || why != EINTR) {
        pause_after(n == 0 ? EIO : why);
    }
}

/* What comes in a burst goes out in few writes; what comes alone, at once. */
static void gather(int64_t until_ms)
{
    assert(lock_held_by_me(&ring.lock));
    ring.gathering = true;
    while (!ring.stop && !enough() && clock_mono_ms() < until_ms)
        lock_wait(&ring.lock, until_ms);
    ring.gathering = false;
}

static void *run(void *arg)
{
    int64_t written_ms = INT64_MIN / 2;
    lock_take(&ring.lock);
    for (;;) {
        tell_dropped(0);
        if (ring.head != ring.tail) {
            gather(written_ms + GATHER_MS);
            write_oldest();
            written_ms = clock_mono_ms();
        } else if (ring.stop) {
            break;
        } else {
            ring.idle = true;
            lock_wait(&ring.lock, INT64_MAX);
            ring.idle = false;
        }
    }
    ring.stopped = true;
    lock_signal(&ring.lock);
    lock_drop(&ring.lock);
    return NULL;
}

/* --- start and end ------------------------------------------------------------------------ */

int log_start(struct error *err)
{
    dropped_total =
        metric_counter("postern_log_lines_dropped_total",
                       "Lines of the log that were dropped because nobody read it in time.", NULL);
    waiting_bytes = metric_gauge("postern_log_waiting_bytes", "Of the log, not written yet.", NULL);
    lock_init(&ring.lock);
    ring.stop = ring.stopped = false;
    if (pthread_create(&ring.thread, NULL, run, NULL) != 0) {
        lock_clear(&ring.lock);
        return error_set(err, ERR_IO, "no thread to be had for the log");
    }
    atomic_store(&way, WAY_RING);
    return 0;
}

bool log_stop(int64_t flush_ms)
{
    int64_t until_ms = clock_mono_ms() + flush_ms;
    lock_take(&ring.lock);
    ring.stop = true;
    lock_signal(&ring.lock);
    while (!ring.stopped && clock_mono_ms() < until_ms)
        lock_wait(&ring.lock, until_ms);
    bool stopped = ring.stopped;
    lock_drop(&ring.lock);
    atomic_store(&way, stopped ? WAY_DIRECT : WAY_NOWHERE);
    if (stopped)
        pthread_join(ring.thread, NULL);
    else
        pthread_detach(ring.thread);
    return stopped;
}

/* --- logging ------------------------------------------------------------------------------ */

/* One write a line, so that lines of several threads do not mix. */
static void write_directly(const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a log that cannot be written must not end what is logged */
        line += n;
        len -= (size_t)n;
    }
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields,
               size_t n_fields)
{
    if ((int)level < atomic_load_explicit(&configured_level, memory_order_relaxed))
        return;
    char line[LOG_LINE_SIZE];
    size_t len = format_now(level, msg, fields, n_fields, line);
    int now = atomic_load(&way);
    if (now == WAY_DIRECT || (now == WAY_RING && !put_or_drop(line, len)))
        write_directly(line, len);
}
