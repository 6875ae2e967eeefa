#include "queue/delivery.h"

#include <stdlib.h>
#include <string.h>

struct delivery *delivery_new(const char *sender, const char *const *addresses, size_t n,
                              struct bytes *content)
{
    size_t size = sizeof(struct delivery) + n * sizeof(struct delivery_recipient);
    size_t text = strlen(sender) + 1;
    for (size_t i = 0; i < n; i++)
        text += strlen(addresses[i]) + 1;
    struct delivery *delivery = calloc(1, size + text);
    if (delivery == NULL)
        return NULL;

    char *to = (char *)delivery + size;
    delivery->sender = to;
    to = stpcpy(to, sender) + 1;
    for (size_t i = 0; i < n; i++) {
        delivery->recipients[i].index = i;
        delivery->recipients[i].address = to;
        to = stpcpy(to, addresses[i]) + 1;
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
