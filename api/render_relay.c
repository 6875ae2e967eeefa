#include "api/render_relay.h"

#include <string.h>

#include "api/render_verify.h"
#include "relay/connect.h"

static void render_connections(struct json_writer *w, const struct relay_status *status)
{
    json_key(w, "connections");
    json_begin_object(w);
    json_member_integer(w, "open", (int64_t)(status->n_connections - status->n_opening));
    json_member_integer(w, "opening", (int64_t)status->n_opening);
    json_member_integer(w, "idle", (int64_t)status->n_idle);
    json_member_integer(w, "bears", (int64_t)status->n_cap);
    json_member_integer(w, "max", (int64_t)status->n_max);
    json_end_object(w);
}

static void render_rates(struct json_writer *w, const struct relay_status *status)
{
    json_key(w, "rates");
    json_begin_array(w);
    for (size_t i = 0; i < status->n_rates; i++) {
        const struct relay_rate *rate = &status->rates[i];
        json_begin_object(w);
        json_member_string(w, "of", rate->of);
        json_member_integer(w, "limit", rate->limit.n);
        json_member_number(w, "seconds", (double)rate->limit.per_ms / 1000);
        json_member_integer(w, "used", rate->used);
        json_end_object(w);
    }
    json_end_array(w);
}

static void render_retry(struct json_writer *w, int64_t in_ms)
{
    json_key(w, "retry_in_seconds");
    if (in_ms > 0)
        json_put_number(w, (double)in_ms / 1000);
    else
        json_put_null(w);
}

static void render_last_error(struct json_writer *w, const struct relay_status *status)
{
    json_key(w, "last_error");
    if (status->last_error.code == ERR_NONE) {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    render_trouble(w, &status->last_error, status->hint, status->hint_proved);
    json_member_time(w, "at", status->last_error_ms);
    json_end_object(w);
}

static void render_oauth(struct json_writer *w, const struct relay_status *status)
{
    const struct oauth_status *oauth = &status->oauth;
    json_key(w, "oauth");
    if (!status->has_oauth) {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    json_member_string(w, "name", oauth->name);
    json_member_string(w, "state", oauth->state);
    json_member_integer(w, "seconds_left", oauth->seconds_left);
    render_retry(w, oauth->retry_in_ms);
    json_key(w, "last_error");
    render_error(w, &oauth->last_error, "", false);
    json_end_object(w);
}

void render_relay(struct json_writer *w, const struct relay_status *status)
{
    json_member_string(w, "name", status->name);
    json_member_string(w, "service", status->service);
    json_member_string(w, "host", status->host);
    json_member_integer(w, "port", status->port);
    json_member_string(w, "tls", connect_tls_word(status->tls));
    json_member_string(w, "state", status->state);
    render_connections(w, status);
    json_member_integer(w, "ready", (int64_t)status->n_ready);
    render_rates(w, status);
    render_retry(w, status->retry_in_ms);
    render_last_error(w, status);
    render_oauth(w, status);
}

void render_lines(struct json_writer *w, const char *text)
{
    json_begin_array(w);
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        json_put_stringn(w, text, n);
        text += n + (text[n] == '\n' ? 1 : 0);
    }
    json_end_array(w);
}
