#include "oauth/tokens/cache_entry.h"

#include <assert.h>

void cache_entry_init(struct cache_entry *entry)
{
    *entry = (struct cache_entry){.due_ms = INT64_MAX, .dropped_ms = INT64_MIN / 2};
}

const char *cache_state_word(enum cache_state state)
{
    static const char *const words[] = {"empty", "fetching", "fresh", "refreshing", "failed"};
    return words[state];
}

bool cache_entry_has_token(const struct cache_entry *entry)
{
    return entry->state == CACHE_FRESH || entry->state == CACHE_REFRESHING;
}

bool cache_entry_in_flight(const struct cache_entry *entry)
{
    return entry->state == CACHE_FETCHING || entry->state == CACHE_REFRESHING;
}

/* What is there when the token is not any more. */
static void lose_token(struct cache_entry *entry)
{
    if (entry->state == CACHE_REFRESHING)
        entry->state = CACHE_FETCHING;
    else
        entry->state = entry->n_failures > 0 ? CACHE_FAILED : CACHE_EMPTY;
}

static void expire(struct cache_entry *entry, int64_t now_ms)
{
    if (cache_entry_has_token(entry) && now_ms >= entry->expires_ms)
        lose_token(entry);
}

/* --- who asks ----------------------------------------------------------------------------- */

static bool lasts(const struct cache_entry *entry, int64_t now_ms, int64_t need_ms)
{
    int64_t tenth_ms = (entry->expires_ms - entry->obtained_ms) / 10;
    return entry->expires_ms - now_ms >= (need_ms < tenth_ms ? need_ms : tenth_ms);
}

static bool backs_off(const struct cache_entry *entry, int64_t now_ms)
{
    return entry->n_failures > 0 && now_ms < entry->due_ms;
}

enum cache_answer cache_entry_ask(struct cache_entry *entry, int64_t now_ms, int64_t need_ms)
{
    expire(entry, now_ms);
    entry->asked_ms = now_ms;
    if (cache_entry_has_token(entry) && lasts(entry, now_ms, need_ms))
        return CACHE_SERVE;
    if (cache_entry_in_flight(entry))
        return CACHE_WAIT;
    if (backs_off(entry, now_ms)) /* what is there, if only for a moment, is better than nothing */
        return cache_entry_has_token(entry) ? CACHE_SERVE : CACHE_FAIL;
    if (entry->due_ms > now_ms)
        entry->due_ms = now_ms;
    return CACHE_WAIT;
}

/* --- requests ----------------------------------------------------------------------------- */

/* An account nobody sends by costs its provider nothing. */
static bool is_wanted(const struct cache_entry *entry)
{
    return entry->due_ms <= entry->asked_ms + CACHE_IDLE_MS;
}

bool cache_entry_begin(struct cache_entry *entry, int64_t now_ms)
{
    expire(entry, now_ms);
    if (cache_entry_in_flight(entry) || now_ms < entry->due_ms || !is_wanted(entry))
        return false;
    entry->state = cache_entry_has_token(entry) ? CACHE_REFRESHING : CACHE_FETCHING;
    return true;
}

int64_t cache_entry_next_ms(const struct cache_entry *entry)
{
    int64_t next_ms = cache_entry_has_token(entry) ? entry->expires_ms : INT64_MAX;
    if (!cache_entry_in_flight(entry) && is_wanted(entry) && entry->due_ms < next_ms)
        next_ms = entry->due_ms;
    return next_ms;
}

void cache_entry_got(struct cache_entry *entry, int64_t now_ms, int64_t obtained_ms,
                     int64_t expires_ms, uint32_t dice)
{
    assert(cache_entry_in_flight(entry) && now_ms < expires_ms);
    int64_t life_ms = expires_ms - obtained_ms;
    entry->state = CACHE_FRESH;
    entry->n_failures = 0;
    entry->grant_refused = false;
    entry->obtained_ms = obtained_ms;
    entry->expires_ms = expires_ms;
    entry->due_ms = obtained_ms + life_ms * (750 + (int64_t)(dice % 101)) / 1000;
    if (entry->due_ms < now_ms + CACHE_GAP_MS) /* the answer took most of the token's life */
        entry->due_ms = now_ms + CACHE_GAP_MS;
}

static int64_t doubled(unsigned times)
{
    int64_t pause_ms = CACHE_BACKOFF_FIRST_MS;
    for (unsigned i = 0; i < times && pause_ms < CACHE_BACKOFF_MAX_MS; i++)
        pause_ms *= 2;
    return pause_ms < CACHE_BACKOFF_MAX_MS ? pause_ms : CACHE_BACKOFF_MAX_MS;
}

/* A fifth either way. */
static int64_t around(int64_t pause_ms, uint32_t dice)
{
    return pause_ms + pause_ms * ((int64_t)(dice % 401) - 200) / 1000;
}

/* Up to a fifth later, never before: so long we were told to stay away. */
static int64_t after(int64_t pause_ms, uint32_t dice)
{
    if (pause_ms > CACHE_RETRY_AFTER_MAX_MS)
        pause_ms = CACHE_RETRY_AFTER_MAX_MS;
    if (pause_ms < CACHE_BACKOFF_FIRST_MS)
        pause_ms = CACHE_BACKOFF_FIRST_MS;
    return pause_ms + pause_ms * (int64_t)(dice % 201) / 1000;
}

static int64_t pause_of(const struct cache_entry *entry, int64_t retry_after_ms, uint32_t dice)
{
    if (entry->grant_refused)
        return around(CACHE_PERSON_MS, dice);
    if (retry_after_ms > 0)
        return after(retry_after_ms, dice);
    return around(doubled(entry->n_failures - 1), dice);
}

void cache_entry_failed(struct cache_entry *entry, int64_t now_ms, enum cache_failure failure,
                        int64_t retry_after_ms, uint32_t dice)
{
    assert(cache_entry_in_flight(entry));
    expire(entry, now_ms);
    entry->state = cache_entry_has_token(entry) ? CACHE_FRESH : CACHE_FAILED;
    entry->n_failures++;
    entry->grant_refused = failure == CACHE_REFUSAL;
    entry->due_ms = now_ms + pause_of(entry, retry_after_ms, dice);
}

/* --- what others do ----------------------------------------------------------------------- */

bool cache_entry_refused(struct cache_entry *entry, int64_t now_ms)
{
    expire(entry, now_ms);
    if (now_ms - entry->dropped_ms < CACHE_DROP_GAP_MS)
        return false;
    entry->dropped_ms = now_ms;
    if (!cache_entry_has_token(entry))
        return true;
    lose_token(entry);
    if (entry->state == CACHE_EMPTY)
        entry->due_ms = INT64_MAX;
    return true;
}

void cache_entry_changed(struct cache_entry *entry, int64_t now_ms)
{
    if (entry->state != CACHE_EMPTY && !cache_entry_in_flight(entry) && entry->due_ms > now_ms)
        entry->due_ms = now_ms;
}
