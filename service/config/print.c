#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "config/service.h"
#include "config/settings.h"
#include "config/url.h"

static void print_duration(FILE *out, int64_t ms)
{
    static const struct {
        int64_t factor;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (ms > 0 && ms % units[i].factor == 0) {
            fprintf(out, "%" PRId64 "%s", ms / units[i].factor, units[i].unit);
            return;
        }
    fprintf(out, "%" PRId64 "%s", ms, ms == 0 ? "s" : "ms");
}

/* As it stands within YAML's double quotes, which are JSON's. */
static void print_escaped(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '"' || text[i] == '\\')
            fprintf(out, "\\%c", text[i]);
        else if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            fprintf(out, "\\x%02x", (unsigned)text[i]);
        else
            fputc(text[i], out);
}

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    print_escaped(out, text, strlen(text));
    fputc('"', out);
}

/* All but its password. */
static void print_url(FILE *out, const char *text)
{
    struct url url;
    if (url_split(text, &url) < 0 || url.password.at == NULL) {
        print_string(out, text);
        return;
    }
    const char *behind = url.password.at + url.password.len;
    fputc('"', out);
    print_escaped(out, text, (size_t)(url.password.at - text));
    fputs("********", out);
    print_escaped(out, behind, strlen(behind));
    fputc('"', out);
}

static void print_or_null(FILE *out, const char *text, void (*print)(FILE *, const char *))
{
    if (text != NULL)
        print(out, text);
    else
        fputs("null", out);
}

static void print_strings(FILE *out, const struct config_strings *list)
{
    fputc('[', out);
    for (size_t i = 0; i < list->n_items; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_string(out, list->items[i]);
    }
    fputc(']', out);
}

/* As it was written. */
static void print_rates(FILE *out, const struct config_rates *rates)
{
    fputc('[', out);
    for (size_t i = 0; i < rates->n_items; i++) {
        int64_t per_ms = rates->items[i].per_ms;
        fprintf(out, "%s%" PRId64 "/%s", i > 0 ? ", " : "", rates->items[i].n,
                per_ms == 1000      ? "s"
                : per_ms == 60000   ? "m"
                : per_ms == 3600000 ? "h"
                                    : "d");
    }
    fputc(']', out);
}

static void print_scopes(FILE *out, unsigned scopes)
{
    static const char *const words[] = {"send", "read", "admin"}; /* by bit */
    const char *before = "[";
    for (unsigned i = 0; i < 3; i++)
        if ((scopes & (1U << i)) != 0) {
            fprintf(out, "%s%s", before, words[i]);
            before = ", ";
        }
    fputs("]", out);
}

static void print_words(FILE *out, const char *const *words, unsigned set)
{
    const char *before = "";
    fputc('[', out);
    for (unsigned i = 0; words[i] != NULL; i++)
        if ((set & (1U << i)) != 0) {
            fprintf(out, "%s%s", before, words[i]);
            before = ", ";
        }
    fputc(']', out);
}

static void print_value(FILE *out, const struct setting *setting, const void *base)
{
    const void *at = (const char *)base + setting->offset;
    switch (setting->type) {
    case SETTING_STRING:
        print_or_null(out, *(const char *const *)at, print_string);
        break;
    case SETTING_SECRET:
        fputs(*(const char *const *)at != NULL ? "\"********\"" : "null", out);
        break;
    case SETTING_URL:
        print_or_null(out, *(const char *const *)at, print_url);
        break;
    case SETTING_SHA256:
        fputs("\"********\"", out);
        break;
    case SETTING_INTEGER:
        fprintf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case SETTING_PORT:
        fprintf(out, "%u", *(const uint16_t *)at);
        break;
    case SETTING_BOOLEAN:
        fputs(*(const int *)at > 0 ? "true" : *(const int *)at == 0 ? "false" : "null", out);
        break;
    case SETTING_DURATION:
        print_duration(out, *(const int64_t *)at);
        break;
    case SETTING_DURATIONS:
        for (size_t i = 0; i < *(const size_t *)((const char *)at + sizeof(int64_t *)); i++) {
            fputs(i > 0 ? ", " : "[", out);
            print_duration(out, (*(int64_t *const *)at)[i]);
        }
        fputc(']', out);
        break;
    case SETTING_SIZE:
        fprintf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case SETTING_RATES:
        print_rates(out, at);
        break;
    case SETTING_STRINGS:
        print_strings(out, at);
        break;
    case SETTING_WORD:
        fputs(setting->words[*(const int *)at], out);
        break;
    case SETTING_WORDS:
        print_words(out, setting->words, *(const unsigned *)at);
        break;
    case SETTING_SCOPES:
        print_scopes(out, *(const unsigned *)at);
        break;
    }
}

static size_t common_parents(const char *a, const char *b)
{
    size_t last = 0;
    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++)
        if (a[i] == '.')
            last = i + 1;
    return last;
}

/* The begin of a line; the first of a list's item bears its dash. */
static void print_indent(FILE *out, int depth, bool dash)
{
    fprintf(out, "%*s%s", dash ? depth - 2 : depth, "", dash ? "- " : "");
}

/* Dotted paths as nested mappings; the rows of a parent stand together in the table. */
static void print_section(FILE *out, const struct section *section, const void *base, int indent,
                          bool item)
{
    const char *previous = "";
    bool dash = item;
    for (size_t i = 0; i < section->n_settings; i++) {
        const char *path = section->settings[i].path;
        size_t from = common_parents(previous, path);
        int depth = indent;
        for (size_t k = 0; k < from; k++)
            depth += path[k] == '.' ? 2 : 0;
        for (const char *dot; (dot = strchr(path + from, '.')) != NULL; depth += 2, dash = false) {
            print_indent(out, depth, dash);
            fprintf(out, "%.*s:\n", (int)(dot - path - (long)from), path + from);
            from = (size_t)(dot - path) + 1;
        }
        print_indent(out, depth, dash);
        fprintf(out, "%s: ", path + from);
        print_value(out, &section->settings[i], base);
        fputc('\n', out);
        previous = path;
        dash = false;
    }
}

static void print_relay(FILE *out, const struct config_relay *relay)
{
    static const char *const tls[] = {"implicit", "starttls", "none", "auto: who speaks first"};
    print_section(out, &section_relay, relay, 4, true);
    fprintf(out, "    # TLS as understood: %s\n", tls[relay->tls]);
    if (relay->from_service.n_items == 0)
        return;
    fprintf(out, "    # Filled in by %s: ", relay->service);
    for (size_t i = 0; i < relay->from_service.n_items; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", relay->from_service.items[i]);
    fputc('\n', out);
}

void config_print(const struct config *config, FILE *out)
{
    print_section(out, &section_top, config, 0, false);
    fputs(config->n_api_keys > 0 ? "api_keys:\n" : "api_keys: []\n", out);
    for (size_t i = 0; i < config->n_api_keys; i++)
        print_section(out, &section_api_key, &config->api_keys[i], 4, true);
    fputs(config->n_relays > 0 ? "relays:\n" : "relays: []\n", out);
    for (size_t i = 0; i < config->n_relays; i++)
        print_relay(out, &config->relays[i]);
    fputs(config->n_oauth > 0 ? "oauth:\n" : "oauth: []\n", out);
    for (size_t i = 0; i < config->n_oauth; i++)
        print_section(out, &section_oauth, &config->oauth[i], 4, true);
    fputs(config->n_routes > 0 ? "routes:\n" : "routes: []\n", out);
    for (size_t i = 0; i < config->n_routes; i++)
        print_section(out, &section_route, &config->routes[i], 4, true);
}

static void print_rows(FILE *out, const struct section *section)
{
    for (size_t i = 0; i < section->n_settings; i++) {
        const struct setting *s = &section->settings[i];
        fprintf(out, "| `%s%s%s` | %s%s%s | %s |\n", section->path,
                section->path[0] != '\0' ? "." : "", s->path, s->def != NULL ? "`" : "",
                s->def != NULL ? s->def : "", s->def != NULL ? "`" : "", s->help);
    }
}

void config_print_reference(FILE *out)
{
    fputs("| setting | default | |\n|---|---|---|\n", out);
    print_rows(out, &section_top);
    print_rows(out, &section_api_key);
    print_rows(out, &section_relay);
    print_rows(out, &section_oauth);
    print_rows(out, &section_route);
}

static void print_service(FILE *out, const struct service *service)
{
    static const char *const tls[] = {"implicit", "starttls", "none", "auto"};
    const char *before = "| ";
    for (const char *const *name = service->names; *name != NULL; name++, before = ", ")
        fprintf(out, "%s`%s%s`", before, *name, service_has_regions(service) ? ":REGION" : "");
    fprintf(out, " | %s", service->host);
    before = " | ";
    for (const struct service_port *port = service->ports; port->port != 0; port++, before = ", ")
        fprintf(out, "%s%u %s", before, port->port, tls[port->tls]);
    fprintf(out, " | %s | %s |\n", service->oauth ? "yes" : "", service->settings);
}

void config_print_services(FILE *out)
{
    fputs("| service | host | port | OAuth 2 | settings |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < n_services; i++)
        print_service(out, &services[i]);
}
