#include "api/parting.h"

#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "base/buffer.h"

enum { ANSWER_MAX = 8192 };

enum problem parting_problem(unsigned status)
{
    switch (status) {
    case 413:
        return PROBLEM_TOO_LARGE;
    case 414:
        return PROBLEM_URI_TOO_LONG;
    case 431:
        return PROBLEM_HEADER_TOO_LARGE;
    case 505:
        return PROBLEM_VERSION;
    default:
        return status < 500 ? PROBLEM_MALFORMED : PROBLEM_UNAVAILABLE;
    }
}

void parting_send(int fd, const char *reason, const char *request_id, enum problem problem,
                  const char *detail)
{
    CLEANUP(buffer_clear) struct buffer answer;
    CLEANUP(buffer_clear) struct buffer body;
    struct json_writer w;
    char date[64] = "";
    struct tm now;
    time_t at = time(NULL);
    buffer_init(&body, ANSWER_MAX / 2);
    json_writer_init(&w, &body);
    problem_document(&w, problem, detail, NULL);
    if (body.failed)
        buffer_reset(&body);
    if (gmtime_r(&at, &now) != NULL) /* no locale is ever set */
        strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &now);
    buffer_init(&answer, ANSWER_MAX);
    buffer_printf(&answer,
                  "HTTP/1.1 %d %s\r\n%sConnection: close\r\nX-Request-Id: %s\r\n"
                  "Content-Type: application/problem+json\r\nContent-Length: %zu\r\n",
                  problem_status(problem), reason, date, request_id, body.len);
    if (problem_status(problem) == 503)
        buffer_append_str(&answer, "Retry-After: 5\r\n");
    buffer_append_str(&answer, "\r\n");
    buffer_append(&answer, body.data, body.len);
    /* What does not go at once does not go: a client that reads nothing is not waited for. */
    if (!answer.failed)
        (void)!send(fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
}
