/* Addresses: what is accepted can stand in a command, and is accepted again as it was written. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "message/address.h"
#include "message/text.h"

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
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c;
        n = utf8_code_point(email + i, len - i, &c);
        require(n > 0 && !text_is_invisible(c));
    }
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
    if (address.name != NULL) {
        size_t n = strlen(address.name);
        require(text_header_fault(address.name, n) == NULL);
        require(n > 0 && address.name[0] != ' ' && address.name[n - 1] != ' ');
    }
    require(address_from_parts(arena, NULL, 0, address.email, strlen(address.email), &again,
                               &err) == 0);
    require(strcmp(address.email, again.email) == 0 && address_order(&address, &again) == 0);
    return 0;
}
