#ifndef POSTERN_MAIL_FIELDS_H
#define POSTERN_MAIL_FIELDS_H

/*
 * The table of a mail's fields: what the store keeps and the API shows of it. A new option is a row
 * here, its member in struct mail, and its use.
 */

#include <stdbool.h>
#include <stddef.h>

#include "mail/mail.h"

enum mail_field_type {
    MAIL_ID,      /* char[ID_SIZE] */
    MAIL_TEXT,    /* const char *, never NULL */
    MAIL_OPTION,  /* const char *, NULL: not said ("" in the store) */
    MAIL_JSON,    /* const char *, JSON text */
    MAIL_INTEGER, /* int64_t */
    MAIL_CHOICE,  /* an enum */
    MAIL_FLAG,    /* bool */
    MAIL_TIME,    /* int64_t, ms; 0: none */
};

struct mail_field {
    const char *column; /* in the store */
    const char *name;   /* as shown; NULL: it is not */
    enum mail_field_type type;
    size_t offset; /* into struct mail */
    bool goes;     /* with a mail on its way out; else in records alone */
};

enum { MAIL_N_FIELDS = 18 };
extern const struct mail_field MAIL_FIELDS[MAIL_N_FIELDS];

const char *mail_field_text(const struct mail *mail,
                            const struct mail_field *field); /* TEXT, ... */
int64_t mail_field_number(const struct mail *mail, const struct mail_field *field);
void mail_field_set_number(struct mail *mail, const struct mail_field *field, int64_t value);
/* `text` is the mail's arena's, or lives longer. */
void mail_field_set_text(struct mail *mail, const struct mail_field *field, const char *text);

static inline bool mail_field_is_text(const struct mail_field *field)
{
    return field->type <= MAIL_JSON;
}

#endif
