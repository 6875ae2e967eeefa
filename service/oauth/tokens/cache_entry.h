#ifndef POSTERN_OAUTH_TOKENS_CACHE_ENTRY_H
#define POSTERN_OAUTH_TOKENS_CACHE_ENTRY_H

/*
 * When a token serves, when the next is asked for, and how long to leave an endpoint alone: the
 * states of one entry of the cache (drawn in cache.h). Pure: no token, no lock, no I/O; the
 * monotonic clock and the dice are arguments.
 *
 * Two shares of a token's life decide. At 80 % (75 to 85, by the dice) the next is asked for. In
 * the last tenth, or in the last `need_ms` if that is less, the token is too short for who asks,
 * and he waits for the next if one can be had. So whatever `need_ms` is, a token that lives 5 s
 * serves for 4.5 s of them, and its successor is there before.
 */

#include <stdbool.h>
#include <stdint.h>

enum cache_state { CACHE_EMPTY, CACHE_FETCHING, CACHE_FRESH, CACHE_REFRESHING, CACHE_FAILED };

enum {
    CACHE_BACKOFF_FIRST_MS = 1000,
    CACHE_BACKOFF_MAX_MS = 5 * 60 * 1000,
    CACHE_RETRY_AFTER_MAX_MS = 60 * 60 * 1000,
    CACHE_PERSON_MS = 15 * 60 * 1000, /* between tries of a grant that was refused */
    CACHE_GAP_MS = 1000,              /* at least, from an answer to the next refresh */
    CACHE_DROP_GAP_MS = 5 * 60 * 1000,
    CACHE_IDLE_MS = 24 * 60 * 60 * 1000, /* nobody asked for so long: it may lapse */
};

struct cache_entry {
    enum cache_state state;
    unsigned n_failures;             /* in a row; above 0: backing off until `due_ms` */
    bool grant_refused;              /* the last failure: a person must see to it */
    int64_t obtained_ms, expires_ms; /* of the token, in FRESH and REFRESHING */
    int64_t due_ms;                  /* the next request; INT64_MAX: when somebody asks */
    int64_t asked_ms;                /* last */
    int64_t dropped_ms;              /* when a relay's refusal last dropped one */
};

enum cache_answer {
    CACHE_SERVE, /* the token there is */
    CACHE_WAIT,  /* a request is under way, or cache_entry_begin() will say that it is due */
    CACHE_FAIL,  /* the last error: the next try is not due */
};

enum cache_failure {
    CACHE_OUTAGE,  /* of the endpoint, or on the way to it */
    CACHE_REFUSAL, /* of the grant */
};

void cache_entry_init(struct cache_entry *entry);
const char *cache_state_word(enum cache_state state);
bool cache_entry_has_token(const struct cache_entry *entry);
bool cache_entry_in_flight(const struct cache_entry *entry);

/* Somebody asks, for a token that is good for `need_ms` more. */
enum cache_answer cache_entry_ask(struct cache_entry *entry, int64_t now_ms, int64_t need_ms);

/* Time goes by: a token that has expired is gone. true: make a request now; it is in flight. */
bool cache_entry_begin(struct cache_entry *entry, int64_t now_ms);
/* When cache_entry_begin() will have something to do, if nothing happens before; INT64_MAX: never.
 */
int64_t cache_entry_next_ms(const struct cache_entry *entry);

/* The request that was in flight brought a token, which has not expired. */
void cache_entry_got(struct cache_entry *entry, int64_t now_ms, int64_t obtained_ms,
                     int64_t expires_ms, uint32_t dice);
/* It failed. `retry_after_ms` as the endpoint says; 0 or less: it does not. */
void cache_entry_failed(struct cache_entry *entry, int64_t now_ms, enum cache_failure failure,
                        int64_t retry_after_ms, uint32_t dice);

/* A relay refused the token: it is dropped. false: one was dropped less than 5 min ago, so it is
 * not the token's fault, and it stays. */
bool cache_entry_refused(struct cache_entry *entry, int64_t now_ms);

/* What requests are made from is not what it was (a person has logged in, a file was replaced): the
 * next request is due now. */
void cache_entry_changed(struct cache_entry *entry, int64_t now_ms);

#endif
