#ifndef POSTERN_SMTP_PARAMETERS_H
#define POSTERN_SMTP_PARAMETERS_H

/*
 * What stands behind the addresses of MAIL and RCPT: SIZE (RFC 1870), SMTPUTF8 (RFC 6531), BODY
 * (RFC 6152), RET, ENVID, NOTIFY and ORCPT (RFC 3461, RFC 6533), REQUIRETLS (RFC 8689). Only what
 * the server offers is written; what an envelope asks of DSN that cannot stand in a command
 * is left out. Each with a space before it; "" for none.
 */

#include "smtp/transaction.h"

enum { SMTP_PARAMETERS_SIZE = 640 };

void smtp_mail_parameters(const struct smtp_tx *tx, const struct smtp_extensions *extensions,
                          char out[SMTP_PARAMETERS_SIZE]);
void smtp_rcpt_parameters(const struct smtp_tx *tx, size_t rcpt,
                          const struct smtp_extensions *extensions, char out[SMTP_PARAMETERS_SIZE]);

bool smtp_dsn_is_asked(const struct mail_dsn *dsn); /* for anything at all */

#endif
