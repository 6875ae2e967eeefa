#ifndef POSTERN_BASE_LOG_LINE_H
#define POSTERN_BASE_LOG_LINE_H

/*
 * One line of the log as octets, logfmt or JSON. No memory is asked for, so that a line about the
 * lack of it comes out too.
 */

#include "base/log.h"

enum {
    LOG_LINE_SIZE = 8192,      /* the longest line, its end included */
    LOG_LINE_VALUE_MAX = 1024, /* octets of a value that are shown; "..." stands for the rest */
};

/*
 * Writes a whole line with its LF to `out` and returns its length, at most LOG_LINE_SIZE. Values
 * are valid UTF-8 on one line whatever they were given as: controls are escaped (the C1 of
 * terminals and Unicode's line ends too), what is not UTF-8 becomes U+FFFD. A field that does not
 * fit is left out, and `cut` says how many were.
 */
size_t log_line_format(enum log_format format, int64_t wall_ms, enum log_level level,
                       const char *msg, const struct log_field *fields, size_t n_fields,
                       char out[LOG_LINE_SIZE]);

#endif
