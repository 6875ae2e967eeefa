#include "smtp/opening.h"

#include <assert.h>

#include "smtp/authentication.h"

static const struct smtp_command EHLO, HELO, STARTTLS;

static int on_greeting(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (dialogue_is_refused(d))
        return dialogue_relay_refused(d, err);
    if (d->said.code != 220)
        return dialogue_no_answer(d, owed, err);
    dialogue_ask(d, &EHLO);
    return 0;
}

static const struct smtp_command GREETING = {SMTP_STEP_GREETING, true, false, NULL, on_greeting};

static int after_ehlo(struct smtp_dialogue *d, struct error *err)
{
    if (d->options->starttls && !d->tls) {
        if (!d->extensions.starttls)
            return error_set(err, ERR_STARTTLS_NOT_OFFERED, "the server offers no STARTTLS");
        dialogue_ask(d, &STARTTLS);
        return 0;
    }
    if (sasl_wanted(&d->credentials))
        return smtp_authenticate(d, err);
    d->ready = true;
    return 0;
}

static void put_ehlo(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "EHLO %.255s\r\n", d->options->hostname);
}

static int on_ehlo(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    const struct smtp_options *options = d->options;
    bool unknown = d->said.code == 500 || d->said.code == 502;
    if (unknown && !options->starttls && !sasl_wanted(&d->credentials)) {
        dialogue_ask(d, &HELO);
        return 0;
    }
    if (dialogue_is_refused(d))
        return dialogue_relay_refused(d, err);
    if (dialogue_reply_class(d) != 2)
        return dialogue_no_answer(d, owed, err);
    smtp_extensions_parse(smtp_reply_text(&d->reply), &d->extensions);
    smtp_extensions_leave_out(&d->extensions, d->without);
    return after_ehlo(d, err);
}

static const struct smtp_command EHLO = {SMTP_STEP_EHLO, true, false, put_ehlo, on_ehlo};

static void put_helo(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "HELO %.255s\r\n", d->options->hostname);
}

static int on_helo(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (dialogue_is_refused(d))
        return dialogue_relay_refused(d, err);
    if (dialogue_reply_class(d) != 2)
        return dialogue_no_answer(d, owed, err);
    return after_ehlo(d, err);
}

static const struct smtp_command HELO = {SMTP_STEP_EHLO, true, false, put_helo, on_helo};

static void put_starttls(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "STARTTLS\r\n");
}

static int on_starttls(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (dialogue_is_refused(d))
        return dialogue_refused(d, ERR_STARTTLS_REFUSED, err);
    if (d->said.code != 220)
        return dialogue_no_answer(d, owed, err);
    d->wants_tls = true; /* smtp_dialogue_tls_done() goes on */
    return 0;
}

static const struct smtp_command STARTTLS = {SMTP_STEP_STARTTLS, true, false, put_starttls,
                                             on_starttls};

void smtp_opening_begin(struct smtp_dialogue *d)
{
    assert(smtp_owed_none(&d->owed));
    dialogue_ask(d, &GREETING);
    smtp_owed_was_sent(&d->owed, 0); /* to connect was to ask for it */
}

void smtp_opening_repeat(struct smtp_dialogue *d)
{
    assert(d->tls && smtp_owed_none(&d->owed));
    d->extensions = (struct smtp_extensions){0};
    dialogue_ask(d, &EHLO);
}
