#ifndef POSTERN_CONFIG_SETTINGS_H
#define POSTERN_CONFIG_SETTINGS_H

/* The table of settings: decoding, printing and the reference all come from it. */

#include <stdbool.h>
#include <stddef.h>

enum setting_type {
    SETTING_STRING,
    SETTING_SECRET, /* a string with a twin NAME_file; masked when printed */
    SETTING_URL,    /* the same, but only its password is masked */
    SETTING_INTEGER,
    SETTING_PORT,
    SETTING_BOOLEAN,
    SETTING_DURATION,  /* int64_t, ms */
    SETTING_DURATIONS, /* int64_t * and a size_t behind it */
    SETTING_SIZE,      /* uint64_t, octets */
    SETTING_RATES,     /* struct config_rates; one rate is a list of one */
    SETTING_STRINGS,   /* struct config_strings; one string is a list of one */
    SETTING_WORD,      /* an enum, by `words` */
    SETTING_WORDS,     /* an unsigned with a bit for each of `words` that is named, in their order;
                          one word is a list of one */
    SETTING_SCOPES,
    SETTING_SHA256,
};

struct setting {
    const char *path; /* within its section: "connections.max" */
    enum setting_type type;
    size_t offset;
    const char *def; /* as it would be written; NULL: none */
    const char *help;
    const char *const *words; /* of SETTING_WORD(S), in the enum's order, NULL at the end */
    long long min, max;       /* of SETTING_INTEGER; min of SETTING_DURATION too, in ms */
    size_t file_offset;       /* where the path of a twin is kept; 0: nowhere */
};

struct section {
    const char *path; /* "" for the top, "relays[]" */
    const struct setting *settings;
    size_t n_settings;
    size_t size; /* of the struct it fills */
};

extern const struct section section_top, section_api_key, section_relay, section_route,
    section_oauth;

bool setting_has_twin(const struct setting *setting); /* NAME_file */

/* Keys that a later version will know; NULL: `path` is not one of them. */
const char *setting_is_planned(const char *section, const char *path);

#endif
