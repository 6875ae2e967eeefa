#ifndef POSTERN_CONFIG_PEM_H
#define POSTERN_CONFIG_PEM_H

/*
 * Can the files of certificates and keys be used? They are loaded just as they will be, so that
 * `postern check` refuses what `postern serve` could not begin with; and if they cannot be, it is
 * looked what else they may be. -1 with ERR_CONFIG, whose detail begins with the path.
 */

#include "base/error.h"

int config_pem_authorities(const char *path, struct error *err);
int config_pem_certificate(const char *path, struct error *err); /* and what issued it, behind it */
/* `certificate` NULL: whose key it is, is not known. It may be the same file. */
int config_pem_key(const char *path, const char *certificate, struct error *err);

#endif
