#ifndef POSTERN_BASE_LOG_H
#define POSTERN_BASE_LOG_H

/*
 * One line an event, as logfmt or JSON, on stderr:
 *
 *     log_info("recipient sent", LOG_STR("message", id), LOG_INT("attempts", 2));
 *     ts=2026-11-23T12:00:00.123Z level=info msg="recipient sent" message=msg_01K… attempts=2
 *
 * Keys are the contract's: message relay recipient reply step code. Text that came from a peer or
 * a client is escaped here. Never message content, never a secret. Any thread may log.
 */

#include <stddef.h>
#include <stdint.h>

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
