#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "cli/commands.h"

/* `postern key NAME`: the key is shown once; the configuration has only its digest. */

enum { RANDOM_OCTETS = 32 };

const char cli_key_usage[] = "usage: postern key NAME [--json]\n"
                             "NAME: up to 64 letters, digits, and . _ -\n";

int cli_key(int argc, char **argv)
{
    bool json = argc == 3 && strcmp(argv[2], "--json") == 0;
    const char *name = argc >= 2 ? argv[1] : "";
    size_t n = strlen(name);
    if ((argc != 2 && !json) || n == 0 || n > 64 ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != n) {
        fputs(cli_key_usage, stderr);
        return EXIT_USAGE;
    }
    unsigned char random[RANDOM_OCTETS], digest[SHA256_DIGEST_LENGTH];
    char key[3 + 2 * RANDOM_OCTETS + 1] = "pk_", hex[2 * SHA256_DIGEST_LENGTH + 1];
    id_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(key + 3 + 2 * i, 3, "%02x", random[i]);
    SHA256((const unsigned char *)key, strlen(key), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (json)
        printf("{\"name\": \"%s\", \"key\": \"%s\", \"sha256\": \"%s\"}\n", name, key, hex);
    else
        printf("%s\n\napi_keys:\n  - {name: %s, sha256: %s, scopes: [send, read]}\n", key, name,
               hex);
    return EXIT_SUCCESS;
}
