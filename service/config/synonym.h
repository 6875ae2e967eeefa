#ifndef POSTERN_CONFIG_SYNONYM_H
#define POSTERN_CONFIG_SYNONYM_H

/* Settings by the names that other mail clients have for them. */

#include "config/settings.h"

/*
 * The path of the setting that somebody may have meant by `path`, which is none: by another
 * client's name for it ("auth.user", "smtp_host"), by its own name in another mapping ("ca_file"),
 * or by how it begins ("auth.pass"). Case, "_" and "-" do not matter. NULL: none.
 */
const char *synonym_find(const struct section *section, const char *path);

#endif
