/* Addresses: what is accepted can stand in a command, and is accepted again as it was written. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "message/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_email(const char *email)
{
    size_t len = strlen(email);
    require(len >= 3 && len <= 254);
    for (size_t i = 0; i < len; i++)
        require((unsigned char)email[i] >= ' ' && email[i] != 0x7f);
    if (email[0] != '"')
        require(strpbrk(email, " <>(),;:\\\"[]") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct address address, again;
    struct error err;
    if (address_parse(arena, (const char *)data, size, &address, &err) < 0) {
        require(err.code != ERR_NONE && err.detail[0] != '\0');
        return 0;
    }
    check_email(address.email);
    if (address.name != NULL)
        require(strpbrk(address.name, "\r\n") == NULL);
    require(address_from_parts(arena, NULL, 0, address.email, strlen(address.email), &again,
                               &err) == 0);
    require(strcmp(address.email, again.email) == 0 && address_same(&address, &again));
    return 0;
}
