#include "oauth/login/authorization.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/id.h"
#include "config/provider.h"
#include "oauth/login/query.h"
#include "oauth/tokens/form.h"

enum {
    WORD_SIZE = 64,
    DESCRIPTION_SIZE = 256,
    CHALLENGE_SIZE = ENCODE_BASE64URL_SIZE(SHA256_DIGEST_LENGTH)
};

static void random_hex(char *out, size_t size)
{
    unsigned char random[32];
    size_t n = (size - 1) / 2;
    assert(n <= sizeof(random));
    id_random(random, sizeof(random));
    encode_hex(random, n, out);
    explicit_bzero(random, sizeof(random));
}

int authorization_init(struct authorization *a, const char *redirect_uri, struct error *err)
{
    if (strlen(redirect_uri) >= sizeof(a->redirect_uri))
        return error_set(err, ERR_INVALID, "the redirect URI is too long");
    random_hex(a->verifier, sizeof(a->verifier));
    random_hex(a->state, sizeof(a->state));
    snprintf(a->redirect_uri, sizeof(a->redirect_uri), "%s", redirect_uri);
    return 0;
}

/* RFC 7636, 4.2: the S256 challenge of a verifier. */
static void make_challenge(const char *verifier, char out[CHALLENGE_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)verifier, strlen(verifier), digest);
    encode_base64url(digest, sizeof(digest), out);
}

/* --- the question ------------------------------------------------------------------------- */

int authorization_url(const struct authorization *a, const struct config_oauth *oauth,
                      const char *user, struct arena *arena, char **url_out, struct error *err)
{
    const struct provider *provider = provider_find(oauth);
    const char *extra = provider != NULL ? provider->authorize_extra : "";
    char challenge[CHALLENGE_SIZE];
    struct form form = {0};
    make_challenge(a->verifier, challenge);
    form_add(&form, "response_type", "code");
    form_add(&form, "client_id", oauth->client_id);
    form_add(&form, "redirect_uri", a->redirect_uri);
    form_add(&form, "scope", oauth->scope);
    form_add(&form, "state", a->state);
    form_add(&form, "code_challenge", challenge);
    form_add(&form, "code_challenge_method", "S256");
    form_add(&form, "login_hint", user);
    const char *query = form_encode(&form, arena);
    char *url = query != NULL ? arena_printf(arena, "%s%c%s%s%s", oauth->authorize_url,
                                             strchr(oauth->authorize_url, '?') ? '&' : '?', query,
                                             extra[0] != '\0' ? "&" : "", extra)
                              : NULL;
    if (url == NULL)
        return error_set(err, ERR_NOMEM, "address of the login");
    *url_out = url;
    return 0;
}

/* --- the answer --------------------------------------------------------------------------- */

int authorization_read(const struct authorization *a, const char *query,
                       char code_out[AUTHORIZATION_CODE_SIZE], struct error *err)
{
    char state[sizeof(a->state)], word[WORD_SIZE], description[DESCRIPTION_SIZE] = "";
    if (!query_get(query, "state", state, sizeof(state)) || strcmp(state, a->state) != 0)
        return error_set(err, ERR_INVALID, "that does not answer this login (its state differs)");
    if (query_get(query, "error", word, sizeof(word))) {
        query_get(query, "error_description", description, sizeof(description));
        return error_set(err, ERR_TOKEN_REFUSED, "%s%s%s", word, description[0] ? ": " : "",
                         description);
    }
    if (!query_get(query, "code", code_out, AUTHORIZATION_CODE_SIZE))
        return error_set(err, ERR_INVALID, "there is no code in it");
    return 0;
}

int authorization_read_pasted(const struct authorization *a, const char *line,
                              char code_out[AUTHORIZATION_CODE_SIZE], struct error *err)
{
    line += strspn(line, " \t\r\n");
    size_t len = strcspn(line, "# \t\r\n");
    char text[AUTHORIZATION_CODE_SIZE];
    if (len == 0)
        return error_set(err, ERR_INVALID, "nothing was pasted");
    if (len >= sizeof(text))
        return error_set(err, ERR_INVALID, "that is too long for an address");
    memcpy(text, line, len);
    text[len] = '\0';
    char *query = strchr(text, '?');
    if (query != NULL)
        return authorization_read(a, query + 1, code_out, err);
    if (strstr(text, "://") != NULL)
        return error_set(err, ERR_INVALID, "there is no code in that address");
    memcpy(code_out, text, len + 1);
    return 0;
}
