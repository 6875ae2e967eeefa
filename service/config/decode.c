#include "config/decode.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/nearest.h"
#include "config/environment.h"
#include "config/secret.h"
#include "config/service.h"
#include "config/settings.h"
#include "config/synonym.h"
#include "config/units.h"

enum { STRING_MAX = 64 * 1024 };

/* Where a fault is: its path, and the line if a file has it. */
__attribute__((format(printf, 3, 4))) static int fault(struct decoder *d, const char *path,
                                                       const char *format, ...)
{
    char detail[400];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    size_t line = yaml_line_of(d->lines, path);
    if (line > 0)
        return error_list_add(d->errors, path, "%s (%s line %zu)", detail, d->file, line);
    return error_list_add(d->errors, path, "%s", detail);
}

/* --- strings ------------------------------------------------------------------------------ */

/* What stands between "${" and "}": NAME, or NAME:-TEXT for what it is when not set, or empty.
 * NULL after telling; no part of a text that was not meant so (a password, perhaps) is repeated. */
static const char *expand_name(struct decoder *d, const char *path, const char *text, size_t len)
{
    size_t n = 0;
    while (n < len &&
           (text[n] == '_' || (text[n] >= 'A' && text[n] <= 'Z') ||
            (text[n] >= 'a' && text[n] <= 'z') || (n > 0 && text[n] >= '0' && text[n] <= '9')))
        n++;
    const char *name = arena_strndup(d->arena, text, n);
    bool has_default = n + 2 <= len && strncmp(text + n, ":-", 2) == 0;
    if (name == NULL || n == 0 || (n < len && !has_default)) {
        fault(d, path, "${NAME} or ${NAME:-TEXT} is wanted; write $${ for a literal ${");
        return NULL;
    }
    const char *value = environment_get(d->environ_, name);
    if (value != NULL) /* whoever wrote it there from a file left its line end */
        value = arena_strndup(d->arena, value, bytes_len_without_line_end(value, strlen(value)));
    if (has_default && (value == NULL || value[0] == '\0'))
        return arena_strndup(d->arena, text + n + 2, len - n - 2);
    if (value == NULL)
        fault(d, path, "${%s} is not set in the environment", name);
    return value;
}

/* ${NAME} from the environment, "$${" a literal "${". NULL after telling. */
static const char *expand(struct decoder *d, const char *path, const char *text)
{
    CLEANUP(buffer_clear) struct buffer out;
    buffer_init(&out, STRING_MAX);
    out.wiping = true;
    if (strstr(text, "${") == NULL && strlen(text) <= STRING_MAX)
        return arena_strdup(d->arena, text);
    if (buffer_reserve(&out, STRING_MAX) == NULL) {
        fault(d, path, "out of memory");
        return NULL;
    }
    while (*text != '\0') {
        if (strncmp(text, "$${", 3) == 0) {
            buffer_append_str(&out, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            const char *end = strchr(text, '}');
            size_t n = end != NULL ? (size_t)(end - text) - 2 : 0;
            const char *value = expand_name(d, path, text + 2, n);
            if (value == NULL)
                return NULL;
            buffer_append_str(&out, value);
            text += n + 3;
        } else {
            buffer_append_char(&out, *text++);
        }
    }
    if (!out.failed)
        return arena_strndup(d->arena, out.data, out.len);
    fault(d, path, "too long");
    return NULL;
}

static const char *string_of(struct decoder *d, const char *path, const json_t *value)
{
    char number[32];
    if (json_is_integer(value)) { /* a password of digits, written without quotes */
        snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
        return arena_strdup(d->arena, number);
    }
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        fault(d, path, "a string is wanted here");
        return NULL;
    }
    return expand(d, path, json_string_value(value));
}

static const char *read_secret(struct decoder *d, const char *path, const char *file_name)
{
    char secret[CONFIG_SECRET_SIZE];
    struct error err;
    if (config_read_secret_file(file_name, secret, &err) < 0) {
        fault(d, path, "%s", err.detail);
        return NULL;
    }
    const char *copy = arena_strdup(d->arena, secret);
    explicit_bzero(secret, sizeof(secret));
    return copy;
}

/* --- values ------------------------------------------------------------------------------- */

static void tell_words(struct decoder *d, const char *path, const struct setting *setting,
                       const char *text)
{
    char all[128] = "";
    for (int i = 0; setting->words[i] != NULL; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i > 0 ? ", " : "",
                 setting->words[i]);
    fault(d, path, "\"%s\" is none of: %s", text, all);
}

static void set_words(struct decoder *d, const char *path, const struct setting *setting, void *at,
                      const char *text)
{
    for (int i = 0; setting->words[i] != NULL; i++)
        if (strcmp(setting->words[i], text) == 0) {
            *(int *)at = i;
            return;
        }
    tell_words(d, path, setting, text);
}

static void set_integer(struct decoder *d, const char *path, const struct setting *setting,
                        void *at, const json_t *value)
{
    long long min = setting->type == SETTING_PORT ? 1 : setting->min;
    long long max = setting->type == SETTING_PORT ? 65535 : setting->max;
    const char *text = string_of(d, path, value); /* a string too: port: ${PORT} */
    char *end;
    if (text == NULL)
        return;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool bad = text[0] == '\0' || text[strspn(text, "-0123456789")] != '\0' || *end != '\0';
    if (bad || errno != 0 || number < min || number > max)
        fault(d, path, "a number from %lld to %lld is wanted", min, max);
    else if (setting->type == SETTING_PORT)
        *(uint16_t *)at = (uint16_t)number;
    else
        *(int64_t *)at = number;
}

static void set_boolean(struct decoder *d, const char *path, int *at, const json_t *value)
{
    const char *text = json_is_string(value) ? string_of(d, path, value) : NULL;
    if (json_is_boolean(value))
        *at = json_is_true(value);
    else if (text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
        *at = text[0] == 't'; /* verify: ${VERIFY} */
    else if (text != NULL || !json_is_string(value))
        fault(d, path, "true or false is wanted");
}

static void set_strings(struct decoder *d, const char *path, struct config_strings *list,
                        const json_t *value)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    list->items = arena_alloc_array(d->arena, n + 1, sizeof(*list->items));
    list->n_items = 0;
    for (size_t i = 0; list->items != NULL && i < n; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        char item_path[400];
        snprintf(item_path, sizeof(item_path), json_is_array(value) ? "%s[%zu]" : "%s", path, i);
        const char *text = string_of(d, item_path, item);
        if (text != NULL)
            list->items[list->n_items++] = text;
    }
}

static void set_durations(struct decoder *d, const char *path, void *at, const json_t *value)
{
    struct config_strings list;
    set_strings(d, path, &list, value);
    size_t n_wanted = json_is_array(value) ? json_array_size(value) : 1;
    int64_t *ms = arena_alloc_array(d->arena, list.n_items + 1, sizeof(*ms));
    if (list.n_items < n_wanted || ms == NULL)
        return; /* told */
    for (size_t i = 0; i < list.n_items; i++)
        if (units_duration_ms(list.items[i], &ms[i]) < 0 || ms[i] == 0) {
            fault(d, path, "\"%s\" is not a duration such as 30s, 5m, 24h, 7d", list.items[i]);
            return;
        }
    if (list.n_items == 0)
        fault(d, path, "at least one duration is wanted");
    *(int64_t **)at = ms;
    *(size_t *)((char *)at + sizeof(int64_t *)) = list.n_items;
}

static void set_rates(struct decoder *d, const char *path, struct config_rates *rates,
                      const json_t *value)
{
    struct config_strings list;
    set_strings(d, path, &list, value);
    struct config_rate *items = arena_alloc_array(d->arena, list.n_items + 1, sizeof(*items));
    for (size_t i = 0; items != NULL && i < list.n_items; i++)
        if (units_rate(list.items[i], &items[i].n, &items[i].per_ms) < 0) {
            fault(d, path, "\"%s\" is not a rate such as 10/s, 30/m, 1000/h, 10000/d",
                  list.items[i]);
            return;
        }
    *rates = (struct config_rates){items, list.n_items};
}

static void set_scopes(struct decoder *d, const char *path, unsigned *scopes, const json_t *value)
{
    struct config_strings list;
    set_strings(d, path, &list, value);
    *scopes = 0;
    for (size_t i = 0; i < list.n_items; i++)
        if (strcmp(list.items[i], "send") == 0)
            *scopes |= SCOPE_SEND;
        else if (strcmp(list.items[i], "read") == 0)
            *scopes |= SCOPE_READ;
        else if (strcmp(list.items[i], "admin") == 0)
            *scopes |= SCOPE_SEND | SCOPE_READ | SCOPE_ADMIN;
        else
            fault(d, path, "\"%s\" is none of: send, read, admin", list.items[i]);
}

static void set_word_list(struct decoder *d, const char *path, const struct setting *setting,
                          unsigned *set, const json_t *value)
{
    struct config_strings list;
    set_strings(d, path, &list, value);
    *set = 0;
    for (size_t i = 0; i < list.n_items; i++) {
        struct nearest nearest;
        size_t k = 0;
        nearest_init(&nearest, list.items[i]);
        for (; setting->words[k] != NULL && strcasecmp(list.items[i], setting->words[k]) != 0; k++)
            nearest_offer(&nearest, setting->words[k]);
        if (setting->words[k] != NULL)
            *set |= 1U << k;
        else if (nearest.word != NULL)
            fault(d, path, "\"%s\" is not one of its words; did you mean %s?", list.items[i],
                  nearest.word);
        else
            tell_words(d, path, setting, list.items[i]);
    }
}

static void set_sha256(struct decoder *d, const char *path, uint8_t *out, const char *text)
{
    if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64) {
        fault(d, path, "64 hexadecimal digits are wanted: postern key NAME prints them");
        return;
    }
    for (size_t i = 0; i < 32; i++) {
        const char pair[] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

/* As from a file: a block of YAML ends with a line end, too. An empty one is for others to judge.
 */
static void set_secret(struct decoder *d, const char *path, const char **at, const char *text)
{
    struct error err;
    size_t len = strlen(text);
    *at = text;
    if (len == 0)
        return;
    if (config_secret_line("it", text, len, at, &len, &err) < 0)
        fault(d, path, "%s", err.detail);
    else if ((*at)[len] != '\0')
        *at = arena_strndup(d->arena, *at, len);
}

static void set_text(struct decoder *d, const char *path, const struct setting *setting, void *at,
                     const char *text)
{
    switch (setting->type) {
    case SETTING_STRING:
    case SETTING_URL:
        *(const char **)at = text;
        break;
    case SETTING_SECRET:
        set_secret(d, path, at, text);
        break;
    case SETTING_WORD:
        set_words(d, path, setting, at, text);
        break;
    case SETTING_SHA256:
        set_sha256(d, path, at, text);
        break;
    case SETTING_DURATION:
        if (units_duration_ms(text, at) < 0)
            fault(d, path, "\"%s\" is not a duration such as 30s, 5m, 24h, 7d", text);
        else if (*(int64_t *)at < setting->min)
            fault(d, path, "must be more than 0");
        break;
    case SETTING_SIZE:
        if (units_size(text, at) < 0)
            fault(d, path, "\"%s\" is not a size such as 512KiB, 25MiB", text);
        break;
    case SETTING_INTEGER:
    case SETTING_PORT:
    case SETTING_BOOLEAN:
    case SETTING_DURATIONS:
    case SETTING_RATES:
    case SETTING_STRINGS:
    case SETTING_WORDS:
    case SETTING_SCOPES:
        break;
    }
}

static void set_value(struct decoder *d, const char *path, const struct setting *setting,
                      void *base, const json_t *value)
{
    void *at = (char *)base + setting->offset;
    switch (setting->type) {
    case SETTING_INTEGER:
    case SETTING_PORT:
        set_integer(d, path, setting, at, value);
        return;
    case SETTING_BOOLEAN:
        set_boolean(d, path, at, value);
        return;
    case SETTING_STRINGS:
        set_strings(d, path, at, value);
        return;
    case SETTING_DURATIONS:
        set_durations(d, path, at, value);
        return;
    case SETTING_RATES:
        set_rates(d, path, at, value);
        return;
    case SETTING_WORDS:
        set_word_list(d, path, setting, at, value);
        return;
    case SETTING_SCOPES:
        set_scopes(d, path, at, value);
        return;
    case SETTING_WORD:
        if (json_is_boolean(value)) { /* YAML's on and off */
            set_words(d, path, setting, at, json_is_true(value) ? "on" : "off");
            return;
        }
        break;
    case SETTING_STRING:
    case SETTING_SECRET:
    case SETTING_URL:
    case SETTING_SHA256:
    case SETTING_DURATION:
    case SETTING_SIZE:
        break;
    }
    const char *text = string_of(d, path, value);
    if (text != NULL)
        set_text(d, path, setting, at, text);
}

/* --- sections ----------------------------------------------------------------------------- */

/* The default as it would stand in a file. */
static void set_default(struct decoder *d, const struct setting *setting, void *base)
{
    json_t *value = NULL;
    if (setting->def == NULL)
        return;
    if (setting->type == SETTING_BOOLEAN) {
        value = json_boolean(strcmp(setting->def, "true") == 0);
    } else if (setting->type == SETTING_DURATIONS || setting->type == SETTING_SCOPES) {
        value = json_array();
        for (const char *s = setting->def; *s != '\0'; s += strcspn(s, " "), s += *s == ' ')
            json_array_append_new(value, json_stringn(s, strcspn(s, " ")));
    } else {
        value = json_string(setting->def);
    }
    set_value(d, setting->path, setting, base, value);
    json_decref(value);
}

static const char *const lists[] = {"relays", "routes", "api_keys", "oauth"}; /* on their own */
enum { N_LISTS = sizeof(lists) / sizeof(lists[0]) };

static bool is_list(const struct section *section, const char *path)
{
    for (size_t i = 0; section == &section_top && i < N_LISTS; i++)
        if (strcmp(path, lists[i]) == 0)
            return true;
    return false;
}

static void offer_copy(struct nearest *nearest, const char *copy)
{
    if (copy != NULL)
        nearest_offer(nearest, copy);
}

/* The setting itself, its twin, and each mapping it stands in. */
static void offer(struct decoder *d, struct nearest *nearest, const struct setting *setting)
{
    const char *path = setting->path;
    nearest_offer(nearest, path);
    if (setting_has_twin(setting))
        offer_copy(nearest, arena_printf(d->arena, "%s_file", path));
    for (const char *dot = path; (dot = strchr(dot, '.')) != NULL; dot++)
        offer_copy(nearest, arena_strndup(d->arena, path, (size_t)(dot - path)));
}

static void unknown(struct decoder *d, const struct section *section, const char *path,
                    const char *full)
{
    struct nearest nearest;
    if (setting_is_planned(section->path, path) != NULL) {
        fault(d, full, "is not supported yet in this version");
        return;
    }
    nearest_init(&nearest, path);
    for (size_t i = 0; i < section->n_settings; i++)
        offer(d, &nearest, &section->settings[i]);
    for (size_t i = 0; section == &section_top && i < N_LISTS; i++)
        nearest_offer(&nearest, lists[i]);
    const char *meant = nearest.word != NULL ? nearest.word : synonym_find(section, path);
    if (meant != NULL)
        fault(d, full, "is not a setting; did you mean %s?", meant);
    else
        fault(d, full, "is not a setting");
}

static bool is_prefix(const struct section *section, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < section->n_settings; i++)
        if (strncmp(section->settings[i].path, path, n) == 0 && section->settings[i].path[n] == '.')
            return true;
    return false;
}

static const struct setting *find(const struct section *section, const char *path, size_t len)
{
    for (size_t i = 0; i < section->n_settings; i++)
        if (strncmp(section->settings[i].path, path, len) == 0 &&
            section->settings[i].path[len] == '\0')
            return &section->settings[i];
    return NULL;
}

static void set_from_file(struct decoder *d, const char *path, const struct setting *setting,
                          void *base, const json_t *value)
{
    const char *file_name = string_of(d, path, value);
    if (file_name == NULL)
        return; /* told */
    *(const char **)((char *)base + setting->offset) = read_secret(d, path, file_name);
    if (setting->file_offset != 0)
        *(const char **)((char *)base + setting->file_offset) = file_name;
}

static void decode_leaf(struct decoder *d, const struct section *section, const char *path,
                        const char *full, const json_t *value, void *base)
{
    size_t n = strlen(path);
    if (json_is_null(value))
        return;
    const struct setting *setting = find(section, path, n);
    bool twin = setting == NULL && n > 5 && strcmp(path + n - 5, "_file") == 0;
    if (twin)
        setting = find(section, path, n - 5);
    if (setting == NULL || (twin && !setting_has_twin(setting)))
        unknown(d, section, path, full);
    else if (setting_has_twin(setting) && *(char **)((char *)base + setting->offset) != NULL)
        fault(d, full, "%s and %s_file are both given: one is wanted", setting->path,
              setting->path);
    else if (twin)
        set_from_file(d, full, setting, base, value);
    else
        set_value(d, full, setting, base, value);
}

static void decode_object(struct decoder *d, const struct section *section, const char *prefix,
                          const char *full_prefix, const json_t *object, void *base)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char path[256], full[384];
        snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        snprintf(full, sizeof(full), "%s%s%s", full_prefix, full_prefix[0] != '\0' ? "." : "", key);
        if (is_list(section, path))
            continue;
        if (is_prefix(section, path) && json_is_object(value))
            decode_object(d, section, path, full, value, base);
        else if (is_prefix(section, path) && !json_is_null(value))
            fault(d, full, "a mapping of settings is wanted here");
        else
            decode_leaf(d, section, path, full, value, base);
    }
}

static void set_defaults(struct decoder *d, const struct section *section, void *base)
{
    for (size_t i = 0; i < section->n_settings; i++)
        set_default(d, &section->settings[i], base);
}

/* --- services ------------------------------------------------------------------------------
 *
 * Over the defaults, below what is given. Given is what stands in the tree, so a default is never
 * taken for it; that is why it is done here, where the tree still is. Port and TLS belong together
 * and are chosen in check.c, when both have been understood.
 */

static bool is_given(const json_t *item, const char *path)
{
    while (item != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        item = json_object_getn(item, path, n);
        path += n + (path[n] == '.' ? 1 : 0);
    }
    return item != NULL && !json_is_null(item);
}

static bool is_region(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* NULL after telling. */
static const struct service *known_service(struct decoder *d, const char *path, const char *word,
                                           bool host_given)
{
    const struct service *service = service_find(word);
    const char *region = service_region(word), *near = service_nearest(word);
    if (service == NULL && near != NULL)
        fault(d, path, "\"%s\" is not a service known here; did you mean %s?", word, near);
    else if (service == NULL)
        fault(d, path,
              "\"%s\" is not a service known here: postern check --services lists them; for any "
              "other write host, port and tls",
              word);
    else if (region != NULL && !service_has_regions(service))
        fault(d, path, "%s has no regions: write %s", service->names[0], service->names[0]);
    else if (service_has_regions(service) && (region != NULL ? !is_region(region) : !host_given))
        fault(d, path, "the region is missing: write %s:REGION, such as %s:eu-west-1",
              service->names[0], service->names[0]);
    else
        return service;
    return NULL;
}

static void take(struct decoder *d, const json_t *item, struct config_relay *relay,
                 const char *path, const char *value)
{
    if (path == NULL || value == NULL || is_given(item, path))
        return;
    const struct setting *setting = find(&section_relay, path, strlen(path));
    json_t *text = json_string(value);
    set_value(d, path, setting, relay, text);
    json_decref(text);
    relay->from_service.items[relay->from_service.n_items++] = setting->path;
}

static const char *service_host(struct decoder *d, const struct service *service, const char *word)
{
    const char *region = strstr(service->host, "{region}");
    if (region == NULL)
        return service->host;
    return arena_printf(d->arena, "%.*s%s%s", (int)(region - service->host), service->host,
                        service_region(word), region + strlen("{region}"));
}

static void fill_from_service(struct decoder *d, const char *full, const json_t *item,
                              struct config_relay *relay)
{
    char where[96];
    snprintf(where, sizeof(where), "%s.service", full);
    const struct service *service =
        relay->service != NULL ? known_service(d, where, relay->service, is_given(item, "host"))
                               : NULL;
    relay->from_service.items =
        arena_alloc_array(d->arena, section_relay.n_settings, sizeof(const char *));
    if (service == NULL || relay->from_service.items == NULL)
        return;
    if (!is_given(item, "host"))
        take(d, item, relay, "host", service_host(d, service, relay->service));
    for (const char *at = service->settings; *at != '\0'; at += strspn(at, " ")) {
        size_t path = strcspn(at, "="), value = strcspn(at + path + 1, " ");
        take(d, item, relay, arena_strndup(d->arena, at, path),
             arena_strndup(d->arena, at + path + 1, value));
        at += path + 1 + value;
    }
}

/* --- lists -------------------------------------------------------------------------------- */

static void decode_item(struct decoder *d, const struct section *section, const char *full,
                        const json_t *item, void *base)
{
    struct config_relay *relay = section == &section_relay ? base : NULL;
    struct config_oauth *oauth = section == &section_oauth ? base : NULL;
    set_defaults(d, section, base);
    if (relay != NULL)
        relay->secure = -1;
    if (oauth != NULL)
        oauth->client_auth = CONFIG_OAUTH_CLIENT_UNSAID;
    if (json_is_object(item))
        decode_object(d, section, "", full, item, base);
    else
        fault(d, full, "a mapping of settings is wanted here");
    if (relay != NULL)
        fill_from_service(d, full, item, relay);
}

static void *decode_list(struct decoder *d, const json_t *list, const char *name,
                         const struct section *section, size_t *n_out)
{
    size_t n = json_array_size(list);
    *n_out = 0;
    if (list != NULL && !json_is_null(list) && !json_is_array(list)) {
        fault(d, name, "a list is wanted here");
        return NULL;
    }
    char *items = arena_alloc_array(d->arena, n + 1, section->size);
    for (size_t i = 0; items != NULL && i < n; i++) {
        char full[64];
        snprintf(full, sizeof(full), "%s[%zu]", name, i);
        decode_item(d, section, full, json_array_get(list, i), items + i * section->size);
    }
    *n_out = items != NULL ? n : 0;
    return items;
}

static void digest_key(struct decoder *d, struct config_api_key *key, size_t i)
{
    static const uint8_t none[sizeof(key->sha256)];
    char where[64];
    snprintf(where, sizeof(where), "api_keys[%zu]", i);
    if (key->key != NULL && memcmp(key->sha256, none, sizeof(none)) != 0)
        fault(d, where, "key and sha256 are both given: one is wanted");
    if (key->key != NULL)
        SHA256((const unsigned char *)key->key, strlen(key->key), key->sha256);
}

void decode_config(struct decoder *d, const json_t *tree, struct config *config)
{
    set_defaults(d, &section_top, config);
    decode_object(d, &section_top, "", "", tree, config);
    config->relays = decode_list(d, json_object_get(tree, "relays"), "relays", &section_relay,
                                 &config->n_relays);
    config->routes = decode_list(d, json_object_get(tree, "routes"), "routes", &section_route,
                                 &config->n_routes);
    config->api_keys = decode_list(d, json_object_get(tree, "api_keys"), "api_keys",
                                   &section_api_key, &config->n_api_keys);
    config->oauth =
        decode_list(d, json_object_get(tree, "oauth"), "oauth", &section_oauth, &config->n_oauth);
    for (size_t i = 0; i < config->n_api_keys; i++)
        digest_key(d, &config->api_keys[i], i);
}
