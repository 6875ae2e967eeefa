#include "relay/backoff.h"

#include "base/jitter.h"

static int64_t doubled(unsigned times, int64_t max_ms)
{
    int64_t pause_ms = BACKOFF_FIRST_MS;
    for (unsigned i = 0; i < times && pause_ms < max_ms; i++)
        pause_ms *= 2;
    return pause_ms < max_ms ? pause_ms : max_ms;
}

int64_t backoff_failed(struct backoff *backoff, int64_t now_ms, bool login, uint32_t dice)
{
    if (!backoff_open(backoff, now_ms))
        return backoff->until_ms - now_ms;
    int64_t pause_ms = doubled(backoff->n_failures, login ? BACKOFF_LOGIN_MAX_MS : BACKOFF_MAX_MS);
    pause_ms = jitter(pause_ms, dice);
    backoff->n_failures++;
    backoff->until_ms = now_ms + pause_ms;
    return pause_ms;
}

void backoff_pause(struct backoff *backoff, int64_t now_ms, int64_t pause_ms)
{
    if (backoff->n_failures == 0)
        backoff->n_failures = 1; /* the probe; but what is documented does not grow */
    if (backoff->until_ms < now_ms + pause_ms)
        backoff->until_ms = now_ms + pause_ms;
}

void backoff_succeeded(struct backoff *backoff)
{
    *backoff = (struct backoff){0};
}

bool backoff_open(const struct backoff *backoff, int64_t now_ms)
{
    return now_ms >= backoff->until_ms;
}

size_t backoff_widen(size_t limit, size_t n_open, size_t max)
{
    if (n_open >= limit)
        limit *= 2;
    return limit < max ? limit : max;
}
