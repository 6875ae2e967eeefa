#include "admit/rights.h"

#include <string.h>

#include "base/nearest.h"
#include "sandbox/sandbox.h"

static bool is_listed(const struct config_strings *list, const char *email)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (address_matches(email, list->items[i]))
            return true;
    return list->n_items == 0;
}

int rights_check(const struct config_api_key *key, const struct message *message,
                 const struct envelope *envelope, struct error_list *errors)
{
    static const char sender[] = "the API key may not send as this address";
    size_t n_before = errors->n_items, n_faults = errors->n_total;
    if (key == NULL)
        return 0;
    if (!is_listed(&key->from, message->from.email))
        error_list_add(errors, "/from", sender);
    if (message->sender != NULL && !is_listed(&key->from, message->sender->email))
        error_list_add(errors, "/sender", sender);
    if (envelope->from[0] != '\0' && !is_listed(&key->from, envelope->from))
        error_list_add(errors, "/envelope/from", sender);
    for (size_t i = 0; i < envelope->n_to; i++)
        if (!is_listed(&key->to, envelope->to[i])) {
            error_list_add(errors, "/to", "the API key may not send to %s", envelope->to[i]);
            break;
        }
    if (key->relay != NULL && message->options.relay != NULL &&
        strcmp(key->relay, message->options.relay) != 0)
        error_list_add(errors, "/relay", "the API key's mail goes through %s alone", key->relay);
    for (size_t i = n_before; i < errors->n_items; i++)
        errors->items[i].code = ERR_FORBIDDEN;
    return errors->n_total > n_faults ? -1 : 0;
}

int rights_check_relay(const struct config *config, bool sandbox, const struct message *message,
                       struct error_list *errors)
{
    struct nearest nearest;
    if (message->options.relay == NULL ||
        (sandbox && strcmp(message->options.relay, SANDBOX_RELAY) == 0))
        return 0;
    nearest_init(&nearest, message->options.relay);
    for (size_t i = 0; i < config->n_relays; i++) {
        if (strcmp(config->relays[i].name, message->options.relay) == 0)
            return 0;
        nearest_offer(&nearest, config->relays[i].name);
    }
    if (nearest.word != NULL)
        return error_list_add(errors, "/relay",
                              "no relay of that name is configured; did you mean %s?",
                              nearest.word);
    return error_list_add(errors, "/relay", "no relay of that name is configured");
}
