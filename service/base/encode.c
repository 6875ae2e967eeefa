#include "base/encode.h"

#include <openssl/evp.h>
#include <string.h>

void encode_hex(const void *octets, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = octets;
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[from[i] >> 4];
        *out++ = digits[from[i] & 15];
    }
    *out = '\0';
}

void encode_base64url(const void *octets, size_t len, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, octets, (int)len);
    size_t n = strcspn(out, "=");
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
}
