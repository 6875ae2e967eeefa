#include "api/render_verify.h"

#include <string.h>

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

void render_trouble(struct json_writer *w, const struct error *error, const char *hint, bool proved)
{
    json_member_string(w, "step", error->where);
    json_member_string(w, "code", error_word(error->code));
    json_member_string(w, "detail", error->detail);
    json_member_string(w, "hint", or_null(hint));
    json_member_bool(w, "proved", proved);
}

void render_error(struct json_writer *w, const struct error *error, const char *hint, bool proved)
{
    if (error->code == ERR_NONE) {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    render_trouble(w, error, hint, proved);
    json_end_object(w);
}

/* The pieces of `text` between `separator`s. */
static void render_list(struct json_writer *w, const char *text, const char *separator)
{
    json_begin_array(w);
    while (*text != '\0') {
        const char *end = strstr(text, separator);
        size_t len = end != NULL ? (size_t)(end - text) : strlen(text);
        json_put_stringn(w, text, len);
        text += len + (end != NULL ? strlen(separator) : 0);
    }
    json_end_array(w);
}

static void render_steps(struct json_writer *w, const struct verify_report *report)
{
    json_key(w, "steps");
    json_begin_array(w);
    for (size_t i = 0; i < report->n_steps; i++) {
        const struct verify_step *step = &report->steps[i];
        json_begin_object(w);
        json_member_string(w, "step", step->name);
        json_member_bool(w, "ok", step->ok);
        json_member_number(w, "ms", (double)step->took_us / 1000);
        json_member_string(w, "detail", step->detail);
        json_end_object(w);
    }
    json_end_array(w);
}

static void render_certificate(struct json_writer *w, const struct verify_report *report)
{
    const struct transport_certificate *certificate = &report->certificate;
    json_key(w, "certificate");
    if (!report->has_certificate) {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    json_key(w, "names");
    render_list(w, certificate->names, ", ");
    json_member_string(w, "issuer", certificate->issuer);
    json_member_time(w, "not_before", certificate->not_before_s * 1000);
    json_member_time(w, "not_after", certificate->not_after_s * 1000);
    json_member_string(w, "pin", certificate->pin);
    json_end_object(w);
}

static void render_tls(struct json_writer *w, const struct verify_report *report)
{
    json_key(w, "tls");
    if (report->tls_version[0] == '\0' && !report->has_certificate) {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    json_member_string(w, "version", or_null(report->tls_version));
    render_certificate(w, report);
    json_end_object(w);
}

static void render_extensions(struct json_writer *w, const struct verify_report *report)
{
    char text[256];
    if (!report->has_extensions) {
        json_member_null(w, "extensions");
        json_member_null(w, "mechanisms");
        return;
    }
    smtp_extensions_describe(&report->extensions, text, sizeof(text));
    json_key(w, "extensions");
    render_list(w, text, ", ");
    json_key(w, "mechanisms");
    render_list(w, report->extensions.auth, " ");
}

void render_verify(struct json_writer *w, const struct verify_report *report)
{
    json_begin_object(w);
    json_member_bool(w, "ok", report->ok);
    render_steps(w, report);
    json_key(w, "error");
    render_error(w, &report->error, report->hint, report->hint_proved);
    render_tls(w, report);
    render_extensions(w, report);
    json_member_string(w, "mechanism", or_null(report->mechanism));
    json_end_object(w);
}
