#include "api/render_verify.h"

#include <string.h>

#include "api/render.h"

static json_t *render_steps(const struct verify_report *report)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < report->n_steps; i++) {
        const struct verify_step *step = &report->steps[i];
        json_array_append_new(steps, json_pack("{s:s, s:b, s:f, s:o}", "step", step->name, "ok",
                                               step->ok, "ms", (double)step->took_us / 1000,
                                               "detail", render_text(step->detail)));
    }
    return steps;
}

json_t *render_trouble(const struct error *error, const char *hint, bool proved)
{
    if (error->code == ERR_NONE)
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:o, s:b}", "step", error->where, "code",
                     error_word(error->code), "detail", render_text(error->detail), "hint",
                     hint[0] != '\0' ? render_text(hint) : json_null(), "proved", proved);
}

/* The pieces of `text` between `separator`s. */
static json_t *render_list(const char *text, const char *separator)
{
    json_t *list = json_array();
    while (*text != '\0') {
        const char *end = strstr(text, separator);
        size_t len = end != NULL ? (size_t)(end - text) : strlen(text);
        char piece[512];
        snprintf(piece, sizeof(piece), "%.*s", (int)len, text);
        json_array_append_new(list, render_text(piece));
        text += len + (end != NULL ? strlen(separator) : 0);
    }
    return list;
}

static json_t *render_certificate(const struct verify_report *report)
{
    const struct transport_certificate *certificate = &report->certificate;
    if (!report->has_certificate)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:s}", "names", render_list(certificate->names, ", "),
                     "issuer", render_text(certificate->issuer), "not_before",
                     render_time(certificate->not_before_s * 1000), "not_after",
                     render_time(certificate->not_after_s * 1000), "pin", certificate->pin);
}

static json_t *render_tls(const struct verify_report *report)
{
    if (report->tls_version[0] == '\0' && !report->has_certificate)
        return json_null();
    return json_pack("{s:s?, s:o}", "version",
                     report->tls_version[0] != '\0' ? report->tls_version : NULL, "certificate",
                     render_certificate(report));
}

static json_t *render_extensions(const struct verify_report *report)
{
    char text[256];
    smtp_extensions_describe(&report->extensions, text, sizeof(text));
    return report->has_extensions ? render_list(text, ", ") : json_null();
}

json_t *render_verify(const struct verify_report *report)
{
    return json_pack(
        "{s:b, s:o, s:o, s:o, s:o, s:o, s:s?}", "ok", report->ok, "steps", render_steps(report),
        "error", render_trouble(&report->error, report->hint, report->hint_proved), "tls",
        render_tls(report), "extensions", render_extensions(report), "mechanisms",
        report->has_extensions ? render_list(report->extensions.auth, " ") : json_null(),
        "mechanism", report->mechanism[0] != '\0' ? report->mechanism : NULL);
}
