#include "relay/identity.h"

#include <stdlib.h>

#include "relay/connect.h"

struct identity *identity_new(const struct config_relay *settings, struct secret *secret,
                              struct transport_tls *tls, struct addresses *addresses)
{
    struct identity *identity = calloc(1, sizeof(*identity));
    if (identity == NULL)
        return NULL;
    identity->holders = 1;
    connect_settings(settings, &identity->session);
    identity->session.tls_context = tls;
    identity->session.addresses = addresses;
    if (secret != NULL) {
        identity->secret = secret_ref(secret);
        if (identity->session.smtp.credentials.password != NULL)
            identity->session.smtp.credentials.password = secret_text(secret);
    }
    return identity;
}

void identity_unref(struct identity *identity)
{
    if (identity == NULL || atomic_fetch_sub(&identity->holders, 1) > 1)
        return;
    secret_unref(identity->secret);
    free(identity);
}
