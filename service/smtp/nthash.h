#ifndef POSTERN_SMTP_NTHASH_H
#define POSTERN_SMTP_NTHASH_H

/*
 * What NTLM derives its keys from ([MS-NLMP], 3.3.1: NTOWFv1): MD4 of the password in UTF-16. As
 * good as the password to who has it.
 *
 * gss-ntlmssp would make it of a password itself, and loses 8 KB each time (1.2.0: a library
 * context of OpenSSL for MD4 that is not given back), which a gateway that logs in for years cannot
 * have.
 */

#include "base/error.h"

enum { NTHASH_OCTETS = 16, NTHASH_SIZE = 2 * NTHASH_OCTETS + 1 };

/* In hex. ERR_AUTH_FAILED: the password is no text. ERR_AUTH_MECHANISM_UNAVAILABLE: OpenSSL has no
 * MD4 here (the module "legacy" is missing). ERR_NOMEM. */
int nthash_of(const char *password, char hex_out[NTHASH_SIZE], struct error *err);

#endif
