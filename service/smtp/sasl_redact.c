/* What must not be shown: secrets that come back in a server's text. */
#include <string.h>

#include "smtp/sasl.h"

enum { TOKEN_BEGIN = 32 }; /* so many characters say which token it is */

static int base64_value(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

/* Does the run of base64 characters at `s`, read from there on, hold `secret`? */
static bool base64_holds(const char *s, const char *secret, size_t n_secret)
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
    bool holds = len == sizeof(octets) || memmem(octets, len, secret, n_secret) != NULL;
    explicit_bzero(octets, sizeof(octets));
    return holds;
}

/* `at_most` characters of the secret stand for all of it. */
static bool repeats(const char *text, const char *secret, size_t at_most)
{
    if (secret == NULL || secret[0] == '\0')
        return false;
    size_t n = strnlen(secret, at_most);
    if (memmem(text, strlen(text), secret, n) != NULL)
        return true;
    size_t in_run = 0; /* something may be glued to its front, so four alignments are read */
    for (const char *s = text; *s != '\0'; s++) {
        in_run = base64_value(*s) >= 0 ? in_run + 1 : 0;
        if (in_run >= 1 && in_run <= 4 && base64_holds(s, secret, n))
            return true;
    }
    return false;
}

bool sasl_text_reveals(const struct sasl_credentials *credentials, const char *text)
{
    return repeats(text, credentials->password, SIZE_MAX) ||
           repeats(text, credentials->token, TOKEN_BEGIN);
}
