#include "smtp/dialogue_state.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

int dialogue_reply_class(const struct smtp_dialogue *d)
{
    return d->said.code / 100;
}

bool dialogue_is_refused(const struct smtp_dialogue *d)
{
    return dialogue_reply_class(d) == 4 || dialogue_reply_class(d) == 5;
}

int dialogue_refused(const struct smtp_dialogue *d, enum error_code code, struct error *err)
{
    return error_set(err, code, "%d%s%s %s", d->said.code, d->said.enhanced[0] != '\0' ? " " : "",
                     d->said.enhanced, d->said.text);
}

int dialogue_relay_refused(const struct smtp_dialogue *d, struct error *err)
{
    return dialogue_refused(d, smtp_reply_throttles(&d->said) ? ERR_THROTTLED : ERR_RELAY_REFUSED,
                            err);
}

int dialogue_no_answer(const struct smtp_dialogue *d, const struct smtp_owed *owed,
                       struct error *err)
{
    return error_set(err, ERR_PROTOCOL, "%d does not answer %s", d->said.code,
                     smtp_step_word(owed->command->step));
}

void dialogue_send(struct smtp_dialogue *d, const char *text, size_t len)
{
    assert(d->text_len == 0); /* the one before it is out */
    d->text = text;
    d->text_len = len;
}

void dialogue_put(struct smtp_dialogue *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(d->line, sizeof(d->line), format, args);
    va_end(args);
    assert(len > 0 && (size_t)len < sizeof(d->line));
    dialogue_send(d, d->line, (size_t)len);
}

void dialogue_begin_wait(struct smtp_dialogue *d, int64_t now_ms)
{
    d->since_ms = d->first_ms = now_ms;
    d->first_written = d->written;
}

void dialogue_ask(struct smtp_dialogue *d, const struct smtp_command *command)
{
    smtp_owed_ask(&d->owed, command, NULL, 0);
}

void dialogue_distrust(struct smtp_dialogue *d, unsigned extensions)
{
    char why[sizeof(d->said.text) + 24];
    snprintf(why, sizeof(why), "%d %s%s%s", d->said.code, d->said.enhanced,
             d->said.enhanced[0] != '\0' ? " " : "", d->said.text);
    smtp_extensions_leave_out(&d->extensions, extensions);
    smtp_distrust_note(d->options->distrust, extensions, why);
}
