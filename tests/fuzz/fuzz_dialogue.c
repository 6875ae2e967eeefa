/*
 * A dialogue with a server that says anything. Whatever it says, every transaction begun comes out
 * once, nothing of the login is said without TLS nor ever traced, what needs an extension goes out
 * only where it is offered, and nothing goes out behind the end.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/dialogue.h"
#include "smtp/login.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MESSAGES_MAX = 40,
    LAG_BEYOND = 64, /* a command by itself goes out whole */
};

struct talk {
    struct smtp_dialogue *dialogue;
    bool tls, tls_verified, login, login_in_clear;
    bool bearer; /* it logs in by tokens */
    unsigned n_tokens;
    const char *token; /* the last; no secret any more once it was refused */
    bool lags;         /* of much the kernel takes half, and the rest when more has been heard */
    size_t unwritten;
    unsigned wishes; /* of the messages; see begin() */
    size_t n_begun, n_ended, window;
    int64_t now_ms;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void take_results(struct talk *talk)
{
    struct smtp_result result;
    while (smtp_dialogue_next_result(talk->dialogue, &result)) {
        require(result.owner == talk && result.n_recipients == 2);
        require(!(result.untouched && result.in_doubt));
        for (size_t i = 0; i < 2; i++) /* the only reply that nobody gave is our own refusal */
            require(!result.untouched || result.recipients[i].reply.code == 0 ||
                    result.recipients[i].reply.code == 553);
        talk->n_ended++;
        require(talk->n_ended <= talk->n_begun);
    }
}

/* Which of them a message wants changes from one to the next. */
static void begin(struct talk *talk)
{
    static const char *const recipients[] = {"bob+tag@example.net", "j\xc3\xbcrgen@example.net"};
    static const char *const notify[] = {"", "NEVER", "SUCCESS,FAILURE,DELAY", "NEVER,DELAY"};
    static const char *const ret[] = {NULL, "HDRS", "FULL", "x y"};
    static const char *const envid[] = {"", "a+b = c", "e\r\nf", NULL};
    static const char contents[2][32] = {"Subject: hello\r\n\r\n.hello\r\n..", "caf\xc3\xa9\r\n"};
    unsigned wishes = talk->wishes + (unsigned)talk->n_begun;
    const char *content = contents[wishes / 4 % 2];
    const struct smtp_envelope envelope = {.sender = "alice@example.com",
                                           .recipients = recipients,
                                           .n_recipients = 2,
                                           .content = content,
                                           .content_len = strlen(content),
                                           .smtputf8 = wishes % 2 == 1,
                                           .require_tls = wishes / 8 % 4 == 3,
                                           .dsn = {.notify = notify[wishes % 4],
                                                   .ret = ret[wishes / 2 % 4],
                                                   .envid = envid[wishes / 3 % 4]},
                                           .owner = talk};
    struct error err;
    if (smtp_dialogue_begin(talk->dialogue, &envelope, talk->now_ms, &err) == 0)
        talk->n_begun++;
}

/* In base64, whatever stands before it; what stands behind it in a login is not the same. */
static bool is_in_base64(const char *octets, size_t len)
{
    static const char *const shifted[] = {"aHVudGVyMi1z", "h1bnRlcjItc2", "odW50ZXIyLXN"};
    for (size_t i = 0; i < 3; i++)
        if (memmem(octets, len, shifted[i], strlen(shifted[i])) != NULL)
            return true;
    return false;
}

/* Fit for a terminal, and without the password or token; what a command says is offered. */
static void on_line(void *arg, void *owner, char who, const char *text)
{
    struct talk *talk = arg;
    const struct smtp_extensions *offered =
        talk->dialogue != NULL ? smtp_dialogue_extensions(talk->dialogue) : NULL;
    require(owner == NULL || owner == talk);
    for (const char *s = text; *s != '\0'; s++)
        require((unsigned char)*s >= 0x20 && *s != 0x7f);
    require(!talk->login || talk->bearer || strstr(text, "hunter2-secret") == NULL);
    require(talk->token == NULL || smtp_dialogue_wants_token(talk->dialogue, NULL) ||
            strstr(text, talk->token) == NULL);
    require(who == 'S' || !is_in_base64(text, strlen(text))); /* it may speak base64 itself */
    if (who != 'C' || owner == NULL || offered == NULL)
        return;
    require(strncmp(text, "MAIL ", 5) != 0 || offered->requiretls ||
            strstr(text, " REQUIRETLS") == NULL);
    require(strstr(text, " REQUIRETLS") == NULL || (talk->tls && talk->tls_verified));
    require(strncmp(text, "RCPT ", 5) != 0 || offered->dsn || strstr(text, " NOTIFY=") == NULL);
    require(strstr(text, "NEVER,") == NULL);
}

static void begin_where_there_is_room(struct talk *talk)
{
    while (talk->n_begun < MESSAGES_MAX && smtp_dialogue_room(talk->dialogue)) {
        begin(talk);
        take_results(talk); /* what the server cannot take comes out at once */
        require(talk->n_begun - talk->n_ended <= talk->window);
    }
}

static void write_some(struct talk *talk, size_t n)
{
    size_t taken = talk->lags && n > LAG_BEYOND ? n / 2 : n;
    smtp_dialogue_written(talk->dialogue, taken, talk->now_ms);
    talk->unwritten = n - taken;
}

/* As a session does: no more is pulled before what was pulled is out. */
static void pull_all(struct talk *talk, size_t piece)
{
    char out[4096];
    size_t n;
    smtp_dialogue_written(talk->dialogue, talk->unwritten, talk->now_ms);
    talk->unwritten = 0;
    while (talk->unwritten == 0 &&
           (n = smtp_dialogue_pull(talk->dialogue, out, piece < sizeof(out) ? piece : 4096)) > 0) {
        require(n <= sizeof(out));
        if (!talk->tls && !talk->login_in_clear)
            require(!is_in_base64(out, n));
        write_some(talk, n);
    }
}

/* False: it came to nothing. */
static bool run_login(struct talk *talk)
{
    struct error err = {0};
    struct smtp_login login;
    if (!smtp_dialogue_take_login(talk->dialogue, &login))
        return true;
    smtp_login_run(&login);
    bool lives = smtp_dialogue_give_login(talk->dialogue, &login, talk->now_ms, &err) == 0;
    require(lives || err.code != ERR_NONE);
    return lives;
}

/* At once, or only when more has been heard; the second time another, and never a third time.
 * False: it came to nothing. */
static bool give_token(struct talk *talk)
{
    static const char *const tokens[] = {"hunter2-secret-1", "hunter2-secret-2"};
    struct error err = {0};
    bool refused;
    if (!smtp_dialogue_wants_token(talk->dialogue, &refused))
        return true;
    require(talk->bearer && (talk->tls || talk->login_in_clear));
    require(talk->n_tokens < 2 && refused == (talk->n_tokens == 1));
    require(smtp_dialogue_step(talk->dialogue) == SMTP_STEP_AUTH);
    require(!smtp_dialogue_room(talk->dialogue));
    if (talk->lags && talk->now_ms % 20 != 0)
        return true;
    talk->token = tokens[talk->n_tokens++];
    bool lives = smtp_dialogue_token(talk->dialogue, talk->token, talk->now_ms, &err) == 0;
    require(lives || err.code != ERR_NONE);
    return lives;
}

/* False: the connection has come to its end. */
static bool exchange(struct talk *talk, const char *data, size_t len, size_t piece)
{
    struct error err = {0};
    talk->now_ms += 10;
    bool lives = smtp_dialogue_feed(talk->dialogue, data, len, talk->now_ms, &err) == 0;
    require(lives || err.code != ERR_NONE);
    take_results(talk);
    if (!lives || smtp_dialogue_over(talk->dialogue))
        return false;
    if (smtp_dialogue_wants_tls(talk->dialogue)) {
        require(!talk->tls);
        talk->tls = true;
        smtp_dialogue_tls_done(talk->dialogue, talk->now_ms);
    }
    if (!run_login(talk) || !give_token(talk))
        return false;
    begin_where_there_is_room(talk);
    pull_all(talk, piece);
    return true;
}

/* Without the plug-ins of GSSAPI, and so without NTLM: gss-ntlmssp keeps some kilobytes of each
 * login for ever, and the first would end the run. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return setenv("GSS_MECH_CONFIG", "/dev/null", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct talk talk = {.tls = data[0] & 1,
                        .tls_verified = data[1] & 128,
                        .login_in_clear = data[0] & 4,
                        .login = data[0] & 8,
                        .bearer = (data[0] & 136) == 136,
                        .lags = data[1] & 64,
                        .wishes = data[1] / 128 * 16 + data[2] / 16,
                        .window = 1 + data[0] / 16,
                        .now_ms = 1000};
    const struct smtp_options options = {
        .hostname = "client.example",
        .tls = talk.tls,
        .tls_verified = talk.tls_verified,
        .starttls = !talk.tls && (data[0] & 2),
        .allow_plaintext_auth = talk.login_in_clear,
        .window = (unsigned)talk.window,
        .credentials = {.mechanism = "auto",
                        .user = talk.login ? "alice" : NULL,
                        .password = "hunter2-secret",
                        .bearer = talk.bearer},
        .timeouts = {1000, 1000, 1000, 1000},
        .trace = {.line = on_line, .arg = &talk},
    };
    size_t piece_in = 1 + data[1] % 64, piece_out = 1 + data[2];
    const char *said = (const char *)data + 3;
    talk.dialogue = smtp_dialogue_new(&options, talk.now_ms);
    pull_all(&talk, piece_out);
    for (size_t at = 0; at < size - 3; at += piece_in) {
        size_t n = size - 3 - at < piece_in ? size - 3 - at : piece_in;
        if (!exchange(&talk, said + at, n, piece_out))
            break;
    }
    smtp_dialogue_lost(talk.dialogue);
    take_results(&talk);
    require(talk.n_ended == talk.n_begun);
    smtp_dialogue_free(talk.dialogue);
    return 0;
}
