#ifndef POSTERN_BASE_LOG_H
#define POSTERN_BASE_LOG_H

/*
 * One line an event, as logfmt or JSON, on stderr:
 *
 *     log_info("recipient sent", LOG_STR("message", id), LOG_INT("attempts", 2));
 *     ts=2026-11-23T12:00:00.123Z level=info msg="recipient sent" message=msg_01K… attempts=2
 *
 * Keys are the contract's: message relay recipient reply step code. Text that came from a peer or
 * a client is escaped here (see log_line.h). Never message content, never a secret. Any thread may
 * log.
 *
 * A gateway must not stand still because nobody reads its stderr (a pipe that is full, a disk that
 * hangs). Between log_start() and log_stop() a line is copied into a ring of 1 MiB, which a thread
 * of its own writes out, many lines at a time; log_write() then never waits but for that copy. A
 * line that finds no room is dropped whole and counted: in `postern_log_lines_dropped_total`, and
 * in the log, where the lines are missing, by "log lines dropped" with their number `n` as soon as
 * there is room. An error of stderr (EPIPE, ENOSPC, EBADF, EAGAIN) is tried again after a pause,
 * and what is in the ring waits. stderr itself is never made non-blocking: others may share it.
 *
 * Before log_start() and after log_stop(), so in all commands but `serve`, log_write() writes by
 * itself and waits as long as that takes.
 *
 * A process that is killed, or aborts, loses what is in the ring, which is nothing but the last
 * moments' lines while somebody reads. What the C library says by itself (a failed assertion, a
 * broken heap) goes past the ring.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
    const char *key;
    const char *text; /* NULL: `number` counts */
    int64_t number;
};

/* A field whose text is NULL is left out. */
#define LOG_STR(k, v)                                                                              \
    {                                                                                              \
        .key = (v) != NULL ? (k) : NULL, .text = (v)                                               \
    }
#define LOG_INT(k, v)                                                                              \
    {                                                                                              \
        .key = (k), .number = (v)                                                                  \
    }

void log_configure(enum log_level level, enum log_format format);

/* The thread, which inherits the caller's signal mask. ERR_IO: none to be had. */
int log_start(struct error *err);
/*
 * Writes out what is in the ring, for `flush_ms` at most. False: it could not be, and is given up;
 * the thread may be stuck in its write() and is left to the end of the process, and what is logged
 * from now on goes nowhere. Not to be called twice for one log_start().
 */
bool log_stop(int64_t flush_ms);

/* `fields` in order; a field whose key is NULL is skipped. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields,
               size_t n_fields);

#define LOG_AT(level, msg, ...)                                                                    \
    do {                                                                                           \
        const struct log_field fields_[] = {__VA_ARGS__};                                          \
        log_write((level), (msg), fields_, sizeof(fields_) / sizeof(fields_[0]));                  \
    } while (0)

#define log_debug(msg, ...) LOG_AT(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)
#define log_info(msg, ...) LOG_AT(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_warn(msg, ...) LOG_AT(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_error(msg, ...) LOG_AT(LOG_LEVEL_ERROR, msg, __VA_ARGS__)

#endif
