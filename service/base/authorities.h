#ifndef POSTERN_BASE_AUTHORITIES_H
#define POSTERN_BASE_AUTHORITIES_H

/*
 * Certificate authorities, read whole: OpenSSL would look into the system's folder whenever a
 * certificate is verified, on the thread that does it.
 */

#include <openssl/types.h>

#include "base/error.h"
#include "base/reload.h"

/* Those of a PEM file, certificates and revocation lists; `path` NULL: the system's, which all
 * share as long as they do not change. The caller's, to X509_STORE_free(); not to be changed if it
 * is the system's. ERR_CONFIG without the file's name, ERR_NOMEM. For reload_kind.load(). */
int authorities_load(const char *path, struct reload_notes *notes, X509_STORE **store_out,
                     struct error *err);

#endif
