#include "api/prefer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/field.h"

/* The value of the preference that `s` begins with, if it is called so: preference = token
 * [ BWS "=" BWS word ] *( OWS ";" [ OWS parameter ] ). One without a value has an empty one. */
static bool take_value(const char *s, const char *name, char *value, size_t size)
{
    s = field_skip_blanks(s);
    size_t n = field_token_length(s);
    if (n != strlen(name) || strncasecmp(s, name, n) != 0)
        return false;
    s = field_skip_blanks(s + n);
    value[0] = '\0';
    if (*s == '=') {
        s = field_skip_blanks(s + 1);
        if (!field_take_word(&s, value, size))
            value[0] = '\0';
        s = field_skip_blanks(s);
    }
    if (*s != ';' && *s != ',' && *s != '\0')
        value[0] = '\0'; /* what cannot be read is ignored, but it was the first of its name */
    return true;
}

bool prefer_wait(const char *prefer, long *seconds_out)
{
    char value[32] = ""; /* a longer number is cut, and still the largest there is */
    if (prefer == NULL)
        return false;
    while (*prefer != '\0' && !take_value(prefer, "wait", value, sizeof(value)))
        prefer = field_next_element(prefer);
    if (value[0] == '\0' || strspn(value, "0123456789") != strlen(value))
        return false;
    *seconds_out = strtol(value, NULL, 10);
    return true;
}
