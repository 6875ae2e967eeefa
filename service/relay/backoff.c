#include "relay/backoff.h"

static void rest(struct backoff *backoff, int64_t now_ms, int64_t pause_ms)
{
    backoff->n_failures++;
    if (now_ms + pause_ms > backoff->until_ms)
        backoff->until_ms = now_ms + pause_ms;
}

int64_t backoff_failed(struct backoff *backoff, int64_t now_ms, bool login, uint32_t dice)
{
    int64_t pause_ms = BACKOFF_FIRST_MS;
    int64_t max_ms = login ? BACKOFF_LOGIN_MAX_MS : BACKOFF_MAX_MS;
    for (unsigned i = 0; i < backoff->n_failures && pause_ms < max_ms; i++)
        pause_ms *= 2;
    if (pause_ms > max_ms)
        pause_ms = max_ms;
    pause_ms += pause_ms * ((int64_t)(dice % 401) - 200) / 1000;

    rest(backoff, now_ms, pause_ms);
    return pause_ms;
}

int64_t backoff_pause(struct backoff *backoff, int64_t now_ms, int64_t pause_ms, uint32_t dice)
{
    pause_ms += pause_ms * (int64_t)(dice % 201) / 1000;
    rest(backoff, now_ms, pause_ms);
    return pause_ms;
}

void backoff_succeeded(struct backoff *backoff)
{
    *backoff = (struct backoff){0};
}

bool backoff_open(const struct backoff *backoff, int64_t now_ms)
{
    return now_ms >= backoff->until_ms;
}
