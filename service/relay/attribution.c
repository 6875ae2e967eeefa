#include "relay/attribution.h"

bool attribution_applies(const struct reaction *reaction)
{
    switch (reaction->kind) {
    case REACTION_RECONNECT:
    case REACTION_SLOW_DOWN:
    case REACTION_QUOTA:
    case REACTION_LOGIN:
    case REACTION_SETUP:
        return true;
    case REACTION_FEWER:
    case REACTION_NO_NEW:
    case REACTION_RATE:
    case REACTION_NONE:
    case REACTION_TOO_MANY_RECIPIENTS:
    case REACTION_FAIL:
        return false;
    }
    return false;
}

bool attribute_to_message(struct mail_complaints *complaints, int64_t took_ms, int64_t now_ms)
{
    if (complaints->n == 0 || took_ms > complaints->last_ms)
        complaints->n++;
    complaints->last_ms = now_ms;
    if (complaints->n < ATTRIBUTION_COMPLAINTS)
        return false;
    complaints->n = 0;
    return true;
}
