#ifndef POSTERN_TESTS_FAKE_REQUEST_H
#define POSTERN_TESTS_FAKE_REQUEST_H

/* A request without a socket, and a wait for its response. */

#include <pthread.h>
#include <stdbool.h>

#include "api/request.h"

struct fake_request {
    struct api_request request;       /* first: what handlers get */
    const struct api_header *headers; /* ended by a NULL name; NULL: none */
    const struct api_header *query;   /* likewise */
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned n_responses;
};

/* `context` and `body` may be NULL. */
void fake_request_init(struct fake_request *fake, const struct api_context *context,
                       const char *method, const char *path, const char *body);
void fake_request_wait(struct fake_request *fake); /* until it was responded to */
void fake_request_clear(struct fake_request *fake);

json_t *fake_response_json(const struct fake_request *fake); /* asserts that it is JSON */
const char *fake_response_header(const struct fake_request *fake, const char *name);

#endif
