#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "config/settings.h"

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

/* In YAML's double quotes, which are JSON's. */
static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++)
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ' || *text == 0x7f)
            fprintf(out, "\\x%02x", (unsigned)*text);
        else
            fputc(*text, out);
    fputc('"', out);
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

static void print_value(FILE *out, const struct setting *setting, const void *base)
{
    const void *at = (const char *)base + setting->offset;
    const char *text;
    switch (setting->type) {
    case SETTING_STRING:
        text = *(const char *const *)at;
        if (text != NULL)
            print_string(out, text);
        else
            fputs("null", out);
        break;
    case SETTING_SECRET:
        fputs(*(const char *const *)at != NULL ? "\"********\"" : "null", out);
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
    case SETTING_STRINGS:
        print_strings(out, at);
        break;
    case SETTING_WORD:
        fputs(setting->words[*(const int *)at], out);
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

/* Dotted paths as nested mappings; the rows of a parent stand together in the table. */
static void print_section(FILE *out, const struct section *section, const void *base, int indent,
                          bool item)
{
    const char *previous = "";
    for (size_t i = 0; i < section->n_settings; i++) {
        const char *path = section->settings[i].path;
        size_t from = common_parents(previous, path);
        int depth = indent;
        for (size_t k = 0; k < from; k++)
            depth += path[k] == '.' ? 2 : 0;
        for (const char *dot; (dot = strchr(path + from, '.')) != NULL; depth += 2) {
            fprintf(out, "%*s%.*s:\n", depth, "", (int)(dot - path - (long)from), path + from);
            from = (size_t)(dot - path) + 1;
        }
        fprintf(out, "%*s%s%s: ", item && i == 0 ? depth - 2 : depth, "",
                item && i == 0 ? "- " : "", path + from);
        print_value(out, &section->settings[i], base);
        fputc('\n', out);
        previous = path;
    }
}

void config_print(const struct config *config, FILE *out)
{
    print_section(out, &section_top, config, 0, false);
    fputs(config->n_api_keys > 0 ? "api_keys:\n" : "api_keys: []\n", out);
    for (size_t i = 0; i < config->n_api_keys; i++)
        print_section(out, &section_api_key, &config->api_keys[i], 4, true);
    fputs(config->n_relays > 0 ? "relays:\n" : "relays: []\n", out);
    static const char *const tls[] = {"implicit", "starttls", "none", "auto: who speaks first"};
    for (size_t i = 0; i < config->n_relays; i++) {
        print_section(out, &section_relay, &config->relays[i], 4, true);
        fprintf(out, "    # TLS as understood: %s\n", tls[config->relays[i].tls]);
    }
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
}
