#ifndef POSTERN_API_PROBLEM_H
#define POSTERN_API_PROBLEM_H

/* Problem documents (RFC 9457): the one place where errors become HTTP. */

#include "api/request.h"

enum problem {
    PROBLEM_MALFORMED,
    PROBLEM_UNAUTHORIZED,
    PROBLEM_FORBIDDEN,
    PROBLEM_NOT_FOUND,
    PROBLEM_METHOD_NOT_ALLOWED,
    PROBLEM_IN_PROGRESS,
    PROBLEM_TOO_LARGE,
    PROBLEM_URI_TOO_LONG,
    PROBLEM_UNSUPPORTED_MEDIA_TYPE,
    PROBLEM_INVALID_MESSAGE,
    PROBLEM_IDEMPOTENCY_MISMATCH,
    PROBLEM_HEADER_TOO_LARGE,
    PROBLEM_REJECTED_BY_RELAY,
    PROBLEM_UNAVAILABLE,
    PROBLEM_DRAINING,
    PROBLEM_NOT_DELIVERED_IN_TIME,
    PROBLEM_VERSION,
};

int problem_status(enum problem problem);
/* The document; `detail` and `errors` may be NULL. */
void problem_document(struct json_writer *w, enum problem problem, const char *detail,
                      const struct error_list *errors);
/* Its members alone, of an object that is open. */
void problem_members(struct json_writer *w, enum problem problem, const char *detail,
                     const struct error_list *errors);
void problem_respond(struct api_request *request, enum problem problem, const char *detail);
void problem_respond_errors(struct api_request *request, enum problem problem,
                            const struct error_list *errors);
/* What an engine's error is to a client. */
enum problem problem_of(enum error_code code);
void problem_respond_error(struct api_request *request, const struct error *err);
/* What a refusal of the door is (admit_result.errors): faults of the message are listed, of
 * anything else its sentence is told. */
void problem_refusal(struct json_writer *w, const struct error_list *errors);
void problem_respond_refusal(struct api_request *request, const struct error_list *errors);
/* GET /problems/{name} */
void problem_describe(struct api_request *request);

#endif
