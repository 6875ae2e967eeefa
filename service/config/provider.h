#ifndef POSTERN_CONFIG_PROVIDER_H
#define POSTERN_CONFIG_PROVIDER_H

/*
 * The known OAuth2 providers: their endpoints, the scope that sends mail, and what each wants
 * different, so that `provider: microsoft` with an id and a secret is a whole entry. Such facts go
 * stale; they are data, a row a provider (a row a cloud for Microsoft), and whatever is given
 * beside `provider` wins over them.
 */

#include <stdbool.h>

#include "base/arena.h"
#include "config/config.h"

struct provider {
    int id;            /* enum config_oauth_provider */
    const char *cloud; /* of Microsoft, the first is the default; NULL: it has none */
    /* "{tenant}" in a URL stands for the tenant. NULL: there is none. */
    const char *token_url, *device_url, *authorize_url;
    const char *scope;           /* when a person consents, or consented */
    const char *app_scope;       /* of client_credentials and jwt_bearer; NULL: the same */
    const char *authorize_extra; /* behind the authorization request's query; "": nothing */
    int client_auth;             /* enum config_oauth_client_auth */
    bool device;                 /* a device may ask for that scope */
    bool pss;                    /* assertions with an RSA key are PS256 */
    const char *mail_host;       /* the relay that takes its tokens */
};

/* As settings and `postern login` call them; the last has no word. */
struct provider_name {
    const char *word;
    int id;              /* enum config_oauth_provider */
    const char *service; /* the relay that takes its tokens (service.c) */
};
extern const struct provider_name provider_names[];

/* The row of `oauth`, by its provider and cloud; NULL: provider custom, or an unknown cloud. */
const struct provider *provider_find(const struct config_oauth *oauth);

/*
 * Fills in what was not given: URLs, scope, and client_auth if it is CONFIG_OAUTH_CLIENT_UNSAID.
 * Strings are the arena's or static. NULL, or why the entry cannot be: a sentence for the user.
 */
const char *provider_fill(struct config_oauth *oauth, struct arena *arena);

#endif
