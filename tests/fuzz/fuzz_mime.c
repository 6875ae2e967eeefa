/* The sandbox's reader of messages: takes anything, and what it gives is whole and valid JSON. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "sandbox/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *parsed = mime_parse((const char *)data, size);
    if (!json_is_array(json_object_get(parsed, "headers")) ||
        !json_is_array(json_object_get(parsed, "attachments")))
        abort();
    char *text = json_dumps(parsed, 0);
    if (text == NULL)
        abort();
    free(text);
    json_decref(parsed);
    return 0;
}
