#ifndef POSTERN_TESTS_TOKEN_ENDPOINT_H
#define POSTERN_TESTS_TOKEN_ENDPOINT_H

/*
 * A token endpoint without a network: what a cache asks comes here on the cache's loop, is counted,
 * and answered as the test says. One a process. It knows nothing of Criterion, so that programs can
 * use it, too.
 */

#include <stdbool.h>
#include <stdint.h>

#include "oauth/tokens/fetch.h"

enum { TOKEN_ENDPOINT_TEXT = 1024 };

struct token_reply {
    int status;
    char body[TOKEN_ENDPOINT_TEXT];
    int64_t retry_after_ms;  /* -1: none */
    enum error_code failure; /* not ERR_NONE: this instead of a response */
    unsigned delay_ms;
};

/* The n-th request, from 1 on, with that form; on the cache's loop. `reply` is a token of 1 h,
 * "token-N", unless it is changed. */
typedef void token_answer_fn(unsigned n, const char *form, struct token_reply *reply);

extern const struct fetch_wire TOKEN_ENDPOINT;

/* NULL: all are answered with such a token. Counts from 0 again. */
void token_endpoint_begin(token_answer_fn *answer);
void token_endpoint_hold(bool held); /* answers wait as long as it is true */
unsigned token_endpoint_requests(void);
unsigned token_endpoint_clients(void); /* opened and not freed */
unsigned token_endpoint_cancelled(void);

void token_reply_token(struct token_reply *reply, unsigned n, unsigned expires_in_s);
/* With a refresh token beside it. */
void token_reply_rotated(struct token_reply *reply, unsigned n, const char *refresh_token);
void token_reply_error(struct token_reply *reply, int status, const char *word);
/* The form's value of "refresh_token", "" if there is none. */
void token_form_refresh_token(const char *form, char out[TOKEN_ENDPOINT_TEXT]);

#endif
