#include "oauth/login/device.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
    EXPIRES_IF_UNSTATED_S = 900,
    EXPIRES_MAX_S = 3600,
    INTERVAL_IF_UNSTATED_S = 5, /* RFC 8628, 3.2 */
    INTERVAL_MAX_S = 60,
    SLOW_DOWN_MS = 5000, /* RFC 8628, 3.5 */
    SETBACK_MAX_MS = 60000,
};

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

/* --- the codes ---------------------------------------------------------------------------- */

static int refuse(struct error *err, const json_t *root, const char *word)
{
    const char *more = json_string_value(json_object_get(root, "error_description"));
    return error_set(err, ERR_TOKEN_REFUSED, "%.64s%s%.300s", word, more != NULL ? ": " : "",
                     more != NULL ? more : "");
}

/* A peer's text, for the eyes of a person: it may not steer their terminal. */
static bool take(const json_t *root, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(root, name));
    if (text == NULL || text[0] == '\0' || strlen(text) >= size)
        return false;
    for (const char *s = text; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
            return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static int64_t take_seconds(const json_t *root, const char *name, int64_t unstated, int64_t max)
{
    const json_t *value = json_object_get(root, name);
    return 1000 * clamp(json_is_integer(value) ? json_integer_value(value) : unstated, 1, max);
}

int device_parse(int status, const char *body, size_t len, int64_t now_ms,
                 struct device *device_out, struct error *err)
{
    struct device d = {0};
    body = bytes_behind_mark(body, &len);
    json_auto_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    const char *word = json_string_value(json_object_get(root, "error"));
    if (word != NULL)
        return refuse(err, root, word);
    if (status != 200)
        return error_set(err, ERR_TOKEN_UNAVAILABLE, "device endpoint: status %d", status);
    if (!take(root, "device_code", d.code, sizeof(d.code)) ||
        !take(root, "user_code", d.user_code, sizeof(d.user_code)) ||
        (!take(root, "verification_uri", d.verification_uri, sizeof(d.verification_uri)) &&
         !take(root, "verification_url", d.verification_uri, sizeof(d.verification_uri))))
        return error_set(err, ERR_TOKEN_UNAVAILABLE, "device endpoint: no usable codes");
    d.expires_ms = now_ms + take_seconds(root, "expires_in", EXPIRES_IF_UNSTATED_S, EXPIRES_MAX_S);
    d.interval_ms = take_seconds(root, "interval", INTERVAL_IF_UNSTATED_S, INTERVAL_MAX_S);
    *device_out = d;
    explicit_bzero(d.code, sizeof(d.code));
    return 0;
}

/* --- polls -------------------------------------------------------------------------------- */

static bool is_denial(const char *word) /* the second is Microsoft's */
{
    return strcmp(word, "access_denied") == 0 || strcmp(word, "authorization_declined") == 0;
}

static enum device_verdict judge_error(struct device *d, const json_t *root, const char *word,
                                       struct error *err)
{
    d->setback_ms = 0;
    if (strcmp(word, "authorization_pending") == 0)
        return DEVICE_PENDING;
    if (strcmp(word, "slow_down") == 0) {
        d->interval_ms += SLOW_DOWN_MS;
        return DEVICE_PENDING;
    }
    if (is_denial(word))
        return error_set(err, ERR_TOKEN_REFUSED, "%s: whoever was asked said no", word);
    if (strcmp(word, "expired_token") == 0)
        return error_set(err, ERR_TOKEN_REFUSED, "%s: nobody typed the code in time", word);
    return refuse(err, root, word);
}

enum device_verdict device_judge(struct device *d, int status, const char *body, size_t len,
                                 struct error *err)
{
    if (status == 200)
        return DEVICE_GRANTED;
    body = bytes_behind_mark(body, &len);
    json_auto_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    const char *word = json_string_value(json_object_get(root, "error"));
    if (word != NULL && status != 429 && status < 500)
        return judge_error(d, root, word, err);
    device_set_back(d);
    return DEVICE_PENDING;
}

void device_set_back(struct device *d)
{
    d->setback_ms = clamp(2 * d->setback_ms, 2 * d->interval_ms, SETBACK_MAX_MS);
}

int64_t device_wait_ms(const struct device *d)
{
    return d->setback_ms > d->interval_ms ? d->setback_ms : d->interval_ms;
}
