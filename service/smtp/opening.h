#ifndef POSTERN_SMTP_OPENING_H
#define POSTERN_SMTP_OPENING_H

/* How a dialogue begins: greeting, EHLO (or HELO), STARTTLS; then the login, where one is wanted.
 */

#include "smtp/dialogue_state.h"

void smtp_opening_begin(struct smtp_dialogue *d); /* the greeting is owed */
/* TLS is up: nothing learned before it is believed after it (RFC 3207, 4.2). */
void smtp_opening_repeat(struct smtp_dialogue *d);

#endif
