#include "config/domain.h"

#include <idn2.h>
#include <stddef.h>
#include <string.h>

bool domain_is(const char *name, enum domain_rules rules)
{
    static const char letters[] =
        "_-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    bool strict = rules == DOMAIN_STRICT;
    size_t len = strlen(name);
    if (!strict && len > 0 && name[len - 1] == '.')
        len--;
    if (len == 0 || len > DOMAIN_MAX || name[0] == '-')
        return false;
    for (size_t at = 0, n; at <= len; at += n + 1) {
        const char *label = name + at;
        n = strspn(label, strict ? letters + 1 : letters);
        if (n == 0 || (label[n] != '.' && label[n] != '\0'))
            return false;
        if (strict && (n > DOMAIN_LABEL_MAX || label[0] == '-' || label[n - 1] == '-'))
            return false;
    }
    return true;
}

char *domain_to_ascii(const char *name, struct arena *arena, const char **why_out)
{
    char *ascii = NULL;
    int rc = idn2_to_ascii_8z(name, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    *why_out = idn2_strerror(rc);
    char *copy = rc == IDN2_OK ? arena_strdup(arena, ascii) : NULL;
    idn2_free(ascii);
    return copy;
}
