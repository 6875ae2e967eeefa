#include "oauth/tokens/token.h"

#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

enum {
    LIFETIME_IF_UNSTATED_S = 300, /* `expires_in` is only RECOMMENDED */
    LIFETIME_MAX_S = 24 * 3600,
    SECRET_MAX = 12288 / 4 * 3, /* what an AUTH line holds as base64 (RFC 4954, 4) */
    ERROR_SHOWN_MAX = 64,
    DESCRIPTION_SHOWN_MAX = 400,
};

struct oauth_token {
    atomic_uint refs;
    int64_t obtained_ms, expires_ms; /* on the monotonic clock */
    char secret[];                   /* NUL-terminated */
};

/* --- the token ----------------------------------------------------------------------------- */

/* RFC 6750, 2.1. A CR or LF here would begin a new SMTP command or HTTP header. */
static bool is_b64token(const char *s, size_t len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
    size_t n = 0;
    while (n < len && s[n] != '\0' && strchr(alphabet, s[n]) != NULL)
        n++;
    bool any = n > 0;
    while (n < len && s[n] == '=')
        n++;
    return any && n == len;
}

int oauth_token_new(const char *secret, size_t len, int64_t now_ms, int64_t lifetime_ms,
                    struct oauth_token **token_out, struct error *err)
{
    if (len > SECRET_MAX)
        return error_set(err, ERR_TOKEN_UNAVAILABLE,
                         "an access token of %zu octets, more than a login can hold", len);
    if (!is_b64token(secret, len))
        return error_set(err, ERR_TOKEN_UNAVAILABLE,
                         "an access token that is empty or has characters that none may have");
    struct oauth_token *token = malloc(sizeof(*token) + len + 1);
    if (token == NULL)
        return error_set(err, ERR_NOMEM, "token of %zu octets", len);
    atomic_init(&token->refs, 1);
    token->obtained_ms = now_ms;
    token->expires_ms = now_ms + lifetime_ms;
    memcpy(token->secret, secret, len);
    token->secret[len] = '\0';
    *token_out = token;
    return 0;
}

struct oauth_token *oauth_token_ref(struct oauth_token *token)
{
    atomic_fetch_add_explicit(&token->refs, 1, memory_order_relaxed);
    return token;
}

void oauth_token_unref(struct oauth_token *token)
{
    if (token == NULL || atomic_fetch_sub_explicit(&token->refs, 1, memory_order_acq_rel) > 1)
        return;
    explicit_bzero(token->secret, strlen(token->secret));
    free(token);
}

int64_t oauth_token_obtained_ms(const struct oauth_token *token)
{
    return token->obtained_ms;
}

int64_t oauth_token_expires_ms(const struct oauth_token *token)
{
    return token->expires_ms;
}

const char *oauth_token_secret(const struct oauth_token *token)
{
    return token->secret;
}

/* --- the endpoint's answer ----------------------------------------------------------------- */

/* Some write the number as a string. NAN: it is none. */
static double number_of(const json_t *value)
{
    if (json_is_number(value))
        return json_number_value(value);
    const char *text = json_string_value(value);
    if (text == NULL || strspn(text, "+-0123456789.eE") != strlen(text) || text[0] == '\0')
        return NAN;
    char *end;
    double number = strtod(text, &end);
    return *end == '\0' ? number : NAN;
}

/* Nonsense says nothing: such a token is used for a short while, and refused if it is no good. */
static int64_t lifetime_ms(const json_t *expires_in)
{
    double s = number_of(expires_in);
    if (isnan(s) || s < 1)
        return 1000 * LIFETIME_IF_UNSTATED_S;
    return s < LIFETIME_MAX_S ? (int64_t)(1000 * s) : 1000 * (int64_t)LIFETIME_MAX_S;
}

/* What is not printable ASCII, which is all that RFC 6749, 5.2 allows, becomes '?'; a cut in the
 * middle of a character then does no harm. */
static void copy_shown(char *to, size_t size, const char *text)
{
    size_t n = 0;
    for (; text[n] != '\0' && n + 1 < size; n++)
        to[n] = (char)(text[n] >= ' ' && text[n] <= '~' ? text[n] : '?');
    to[n] = '\0';
}

/* Words that blame the endpoint, not the grant. The first two are RFC 6749's (4.1.2.1). */
static bool is_passing(const char *error)
{
    static const char *const words[] = {"temporarily_unavailable", "server_error",
                                        "internal_failure", "rate_limit_exceeded",
                                        "too_many_requests"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(error, words[i]) == 0)
            return true;
    return false;
}

/* RFC 6749, 5.2. */
static int refuse(int status, const char *error, const json_t *root, struct error *err)
{
    char word[ERROR_SHOWN_MAX], description[DESCRIPTION_SHOWN_MAX];
    const char *more = json_string_value(json_object_get(root, "error_description"));
    copy_shown(word, sizeof(word), error);
    copy_shown(description, sizeof(description), more != NULL ? more : "");
    bool passing = status >= 500 || status == 429 || is_passing(error);
    return error_set(err, passing ? ERR_TOKEN_UNAVAILABLE : ERR_TOKEN_REFUSED, "%s%s%s", word,
                     description[0] != '\0' ? ": " : "", description);
}

static int take_refresh(const json_t *root, char **refresh_out, struct error *err)
{
    const char *text = json_string_value(json_object_get(root, "refresh_token"));
    bool came = text != NULL && text[0] != '\0';
    char *refresh = came ? strdup(text) : NULL;
    if (came && refresh == NULL)
        return error_set(err, ERR_NOMEM, "refresh token of %zu octets", strlen(text));
    *refresh_out = refresh;
    return 0;
}

static int take_token(const json_t *root, int64_t now_ms, struct oauth_token **token_out,
                      struct error *err)
{
    const json_t *secret = json_object_get(root, "access_token");
    const json_t *type = json_object_get(root, "token_type");
    if (!json_is_string(secret))
        return error_set(err, ERR_TOKEN_UNAVAILABLE, "the endpoint's answer has no access token");
    /* REQUIRED, but who leaves it out means this one: no other was ever in use for mail. */
    if (type != NULL &&
        (!json_is_string(type) || strcasecmp(json_string_value(type), "bearer") != 0))
        return error_set(err, ERR_TOKEN_UNAVAILABLE, "the endpoint gave a token that is no bearer");
    return oauth_token_new(json_string_value(secret), json_string_length(secret), now_ms,
                           lifetime_ms(json_object_get(root, "expires_in")), token_out, err);
}

static int unreadable(int status, struct error *err)
{
    if (status / 100 == 3)
        return error_set(err, ERR_TOKEN_UNAVAILABLE,
                         "the endpoint answered with a redirect (%d), which is not followed",
                         status);
    return error_set(err, ERR_TOKEN_UNAVAILABLE, "the endpoint answered %d, and not with %s",
                     status, status / 100 == 2 ? "a token" : "an OAuth error");
}

/* An empty one, or null, is none. */
static bool has_error(const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    return error != NULL && !json_is_null(error) &&
           !(json_is_string(error) && json_string_length(error) == 0);
}

int oauth_token_parse(int status, const char *body, size_t len, int64_t now_ms,
                      struct oauth_token **token_out, char **refresh_out, struct error *err)
{
    body = bytes_behind_mark(body, &len); /* RFC 8259, 8.1: it may be ignored */
    /* Integers as reals: a huge one is then no error of the whole. */
    json_auto_t *root =
        json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    const char *error = json_string_value(json_object_get(root, "error"));
    if (has_error(root) && error != NULL && status / 100 != 3)
        return refuse(status, error, root, err);
    if (status / 100 != 2 || !json_is_object(root) || has_error(root))
        return unreadable(status, err);

    CLEANUP(oauth_token_unref) struct oauth_token *token = NULL;
    if (take_token(root, now_ms, &token, err) < 0 || take_refresh(root, refresh_out, err) < 0)
        return -1;
    *token_out = TAKE(token);
    return 0;
}
