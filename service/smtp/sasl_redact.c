/* What must not be shown: secrets that come back in a server's text. */
#include <string.h>

#include "smtp/sasl.h"

static int base64_value(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

/* Does the run of base64 characters at `s`, read from there on, hold `secret`? */
static bool base64_holds(const char *s, const char *secret)
{
    char octets[512];
    size_t len = 0;
    unsigned bits = 0, n_bits = 0;
    for (; base64_value(*s) >= 0 && len < sizeof(octets); s++) {
        bits = bits << 6 | (unsigned)base64_value(*s);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            octets[len++] = (char)(bits >> n_bits & 0xff);
        }
    }
    bool holds = len == sizeof(octets) || memmem(octets, len, secret, strlen(secret)) != NULL;
    explicit_bzero(octets, sizeof(octets));
    return holds;
}

static bool repeats(const char *text, const char *secret)
{
    if (secret == NULL || secret[0] == '\0')
        return false;
    if (strstr(text, secret) != NULL)
        return true;
    size_t in_run = 0; /* something may be glued to its front, so four alignments are read */
    for (const char *s = text; *s != '\0'; s++) {
        in_run = base64_value(*s) >= 0 ? in_run + 1 : 0;
        if (in_run >= 1 && in_run <= 4 && base64_holds(s, secret))
            return true;
    }
    return false;
}

bool sasl_text_reveals(const struct sasl_credentials *credentials, const char *text)
{
    return repeats(text, credentials->password) || repeats(text, credentials->token);
}
