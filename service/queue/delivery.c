#include "queue/delivery.h"

#include <stdlib.h>
#include <string.h>

enum { N_STRINGS = 7 /* of struct delivery_wishes */ };

static void list_strings(struct delivery_wishes *wishes, const char **strings[N_STRINGS])
{
    strings[0] = &wishes->from;
    strings[1] = &wishes->api_key;
    strings[2] = &wishes->tags;
    strings[3] = &wishes->relay;
    strings[4] = &wishes->dsn_notify;
    strings[5] = &wishes->dsn_ret;
    strings[6] = &wishes->dsn_envid;
}

/* To `*to`, which moves behind it. */
static const char *put(char **to, const char *s)
{
    const char *copy = *to;
    *to = stpcpy(*to, s) + 1;
    return copy;
}

struct delivery *delivery_new(const char *sender, const struct delivery_wishes *wishes,
                              const char *const *addresses, size_t n, struct bytes *content)
{
    struct delivery_wishes copy = *wishes;
    const char **strings[N_STRINGS];
    list_strings(&copy, strings);
    size_t size = sizeof(struct delivery) + n * sizeof(struct delivery_recipient);
    size_t text = strlen(sender) + 1;
    for (size_t i = 0; i < N_STRINGS; i++)
        text += strlen(*strings[i]) + 1;
    for (size_t i = 0; i < n; i++)
        text += strlen(addresses[i]) + 1;
    struct delivery *delivery = calloc(1, size + text);
    if (delivery == NULL)
        return NULL;

    char *to = (char *)delivery + size;
    delivery->sender = put(&to, sender);
    for (size_t i = 0; i < N_STRINGS; i++)
        *strings[i] = put(&to, *strings[i]);
    delivery->wishes = copy;
    for (size_t i = 0; i < n; i++) {
        delivery->recipients[i].index = i;
        delivery->recipients[i].address = put(&to, addresses[i]);
    }
    delivery->n_recipients = n;
    delivery->content = bytes_ref(content);
    delivery->flight = -1;
    return delivery;
}

void delivery_free(struct delivery *delivery)
{
    if (delivery != NULL)
        bytes_unref(delivery->content);
    free(delivery);
}
