#ifndef POSTERN_SMTP_AUTHENTICATION_H
#define POSTERN_SMTP_AUTHENTICATION_H

/*
 * A dialogue's login (RFC 4954): which mechanism, which one after a refusal, when a token is
 * wanted. Errors as of smtp_dialogue_feed().
 */

#include "smtp/dialogue_state.h"

/* Begins, or begins anew. Where the token is yet to come, only whether it would be of use is seen.
 */
int smtp_authenticate(struct smtp_dialogue *d, struct error *err);
/* `login` has run: what it came to. */
int smtp_auth_go_on(struct smtp_dialogue *d, struct error *err);
/* A command went out whole: a secret in it is wiped. */
void smtp_auth_was_sent(struct smtp_dialogue *d, const struct smtp_command *command);
void smtp_auth_drop_token(struct smtp_dialogue *d); /* wipes it */
/* Nothing is owed then: it is our turn to say something. */
bool smtp_auth_pauses(const struct smtp_dialogue *d);

#endif
