#include "api/render_relay.h"

#include <stdlib.h>
#include <string.h>

#include "api/render.h"
#include "api/render_verify.h"
#include "relay/connect.h"

static json_t *render_rate(const struct relay_rate *rate)
{
    return json_pack("{s:s, s:I, s:f, s:I}", "of", rate->of, "limit", (json_int_t)rate->limit.n,
                     "seconds", (double)rate->limit.per_ms / 1000, "used", (json_int_t)rate->used);
}

static json_t *render_rates(const struct relay_status *status)
{
    json_t *list = json_array();
    for (size_t i = 0; i < status->n_rates; i++)
        json_array_append_new(list, render_rate(&status->rates[i]));
    return list;
}

static json_t *render_last_error(const struct relay_status *status)
{
    json_t *json = render_trouble(&status->last_error, status->hint, status->hint_proved);
    if (json_is_object(json))
        json_object_set_new(json, "at", render_time(status->last_error_ms));
    return json;
}

static json_t *render_oauth(const struct relay_status *status)
{
    const struct oauth_status *oauth = &status->oauth;
    if (!status->has_oauth)
        return json_null();
    return json_pack("{s:s, s:s, s:I, s:o, s:o}", "name", oauth->name, "state", oauth->state,
                     "seconds_left", (json_int_t)oauth->seconds_left, "retry_in_seconds",
                     oauth->retry_in_ms > 0 ? json_real((double)oauth->retry_in_ms / 1000)
                                            : json_null(),
                     "last_error", render_trouble(&oauth->last_error, "", false));
}

json_t *render_relay(const struct relay_status *status)
{
    return json_pack(
        "{s:s, s:s?, s:s, s:I, s:s, s:s, s:{s:I, s:I, s:I, s:I, s:I}, s:I, s:o, s:o, s:o, s:o}",
        "name", status->name, "service", status->service, "host", status->host, "port",
        (json_int_t)status->port, "tls", connect_tls_word(status->tls), "state", status->state,
        "connections", "open", (json_int_t)(status->n_connections - status->n_opening), "opening",
        (json_int_t)status->n_opening, "idle", (json_int_t)status->n_idle, "bears",
        (json_int_t)status->n_cap, "max", (json_int_t)status->n_max, "ready",
        (json_int_t)status->n_ready, "rates", render_rates(status), "retry_in_seconds",
        status->retry_in_ms > 0 ? json_real((double)status->retry_in_ms / 1000) : json_null(),
        "last_error", render_last_error(status), "oauth", render_oauth(status));
}

json_t *render_lines(const char *text)
{
    json_t *lines = json_array();
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        char *line = strndup(text, n);
        json_array_append_new(lines, line != NULL ? render_text(line) : NULL);
        free(line);
        text += n + (text[n] == '\n' ? 1 : 0);
    }
    return lines;
}
