#include "smtp/sasl.h"

#include <criterion/criterion.h>
#include <gsasl.h>
#include <gssapi/gssapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message/base64.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable() ((void)0)
#endif

/* The peer of every mechanism is libgsasl's own server side, or MIT's and gss-ntlmssp's acceptor.
 */

static const struct sasl_binding EXPORTER = {.tls_exporter = "ZXhwb3J0ZXItb2N0ZXRz"};
static const struct sasl_binding UNIQUE = {.tls_unique = "dW5pcXVlLW9jdGV0cw=="};
static const struct sasl_binding BOTH = {"ZXhwb3J0ZXItb2N0ZXRz", "dW5pcXVlLW9jdGV0cw=="};
static const struct sasl_binding OTHER = {.tls_exporter = "b3RoZXItY29ubmVjdGlvbg=="};
static const struct sasl_binding NONE;

/* --- the choice --------------------------------------------------------------------------- */

enum { PASSWORD = 1, DOMAIN = 2, TOKEN = 4, BOUND = 8, CLEAR = 16, BEARER = 32 };

static const struct choice {
    const char *wanted, *offered;
    int with;
    const char *mechanism; /* NULL: the error's word */
    enum error_code code;
} CHOICES[] = {
#define EVERYTHING                                                                                 \
    "GSSAPI EXTERNAL LOGIN PLAIN NTLM CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-1-PLUS "           \
    "SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER"
    {"auto", EVERYTHING, PASSWORD | BOUND | CLEAR, "SCRAM-SHA-256-PLUS"},
    {"auto", EVERYTHING, PASSWORD | CLEAR, "SCRAM-SHA-256"},
    {"auto", "SCRAM-SHA-1-PLUS SCRAM-SHA-256", PASSWORD | BOUND, "SCRAM-SHA-256"},
    {"auto", "SCRAM-SHA-1 SCRAM-SHA-1-PLUS PLAIN", PASSWORD | BOUND | CLEAR, "SCRAM-SHA-1-PLUS"},
    {"auto", "PLAIN SCRAM-SHA-1 DIGEST-MD5", PASSWORD | BOUND | CLEAR, "SCRAM-SHA-1"},
    {"auto", "LOGIN PLAIN CRAM-MD5 DIGEST-MD5", PASSWORD | CLEAR, "DIGEST-MD5"},
    {"auto", "LOGIN PLAIN CRAM-MD5", PASSWORD | CLEAR, "CRAM-MD5"},
    {"auto", "NTLM LOGIN PLAIN", PASSWORD | CLEAR, "PLAIN"},
    {"auto", "NTLM LOGIN", PASSWORD | CLEAR, "LOGIN"},
    {"auto", "NTLM LOGIN PLAIN", PASSWORD | DOMAIN | CLEAR, "NTLM"},
    {"auto", "NTLM LOGIN PLAIN", PASSWORD, "NTLM"}, /* rather than the password in the clear */
    {"auto", "NTLM", PASSWORD | CLEAR, "NTLM"},
    {"auto", "LOGIN PLAIN", PASSWORD | CLEAR, "PLAIN"},
    {"auto", "LOGIN", PASSWORD | CLEAR, "LOGIN"},
    {NULL, "LOGIN", PASSWORD | CLEAR, "LOGIN"},
    {"auto", "LOGIN PLAIN", PASSWORD, .code = ERR_AUTH_NEEDS_TLS},
    {"auto", "EXTERNAL GSSAPI", PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"auto", "SCRAM-SHA-256-PLUS", PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"auto", "XPLAIN PLAINX", PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"auto", "", PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"auto", "PLAIN XOAUTH2", CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"auto", EVERYTHING, TOKEN | BOUND | CLEAR, "OAUTHBEARER"},
    {"auto", "PLAIN XOAUTH2", TOKEN | CLEAR, "XOAUTH2"},
    {"auto", "PLAIN XOAUTH2", TOKEN, .code = ERR_AUTH_NEEDS_TLS},
    {"auto", EVERYTHING, BEARER | CLEAR, "OAUTHBEARER"}, /* to come */
    {"auto", EVERYTHING, BEARER | TOKEN | CLEAR, "OAUTHBEARER"},
    {"auto", "PLAIN XOAUTH2", BEARER | CLEAR, "XOAUTH2"},
    {"auto", "PLAIN XOAUTH2", BEARER, .code = ERR_AUTH_NEEDS_TLS},
    {"auto", "PLAIN SCRAM-SHA-256", BEARER | PASSWORD | CLEAR,
     .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"oauthbearer", "PLAIN XOAUTH2", BEARER | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"xoauth2", EVERYTHING, TOKEN | CLEAR, "XOAUTH2"},
    {"xoauth2", EVERYTHING, PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"plain", EVERYTHING, PASSWORD | BOUND | CLEAR, "PLAIN"},
    {"plain", "LOGIN SCRAM-SHA-256", PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"plain", EVERYTHING, PASSWORD, .code = ERR_AUTH_NEEDS_TLS},
    {"login", EVERYTHING, PASSWORD | CLEAR, "LOGIN"},
    {"cram-md5", EVERYTHING, PASSWORD, "CRAM-MD5"},
    {"digest-md5", EVERYTHING, PASSWORD, "DIGEST-MD5"},
    {"ntlm", EVERYTHING, PASSWORD, "NTLM"},
    {"scram-sha-256", EVERYTHING, PASSWORD | BOUND, "SCRAM-SHA-256-PLUS"},
    {"scram-sha-256", EVERYTHING, PASSWORD, "SCRAM-SHA-256"},
    {"SCRAM-SHA-256", "SCRAM-SHA-256 PLAIN", PASSWORD | BOUND, "SCRAM-SHA-256"},
    {"scram-sha-1", EVERYTHING, PASSWORD | BOUND, "SCRAM-SHA-1-PLUS"},
    {"scram-sha-1", "SCRAM-SHA-256", PASSWORD, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"scram-sha-256-plus", EVERYTHING, PASSWORD | BOUND, "SCRAM-SHA-256-PLUS"},
    {"scram-sha-256-plus", EVERYTHING, PASSWORD, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"scram-sha-256-plus", "SCRAM-SHA-256", PASSWORD | BOUND,
     .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"external", EVERYTHING, 0, "EXTERNAL"},
    {"external", "PLAIN", CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
    {"gssapi", EVERYTHING, 0, "GSSAPI"},
    {"scram", EVERYTHING, PASSWORD | CLEAR, .code = ERR_AUTH_MECHANISM_UNAVAILABLE},
};

Test(sasl, choice)
{
    for (size_t i = 0; i < sizeof(CHOICES) / sizeof(CHOICES[0]); i++) {
        const struct choice *row = &CHOICES[i];
        const struct sasl_credentials credentials = {
            .mechanism = row->wanted,
            .user = row->with & (PASSWORD | TOKEN | BEARER) ? "alice" : NULL,
            .password = row->with & PASSWORD ? "wonderland" : NULL,
            .domain = row->with & DOMAIN ? "SMTP" : NULL,
            .bearer = row->with & BEARER,
            .token = row->with & TOKEN ? "t0ken" : NULL,
        };
        CLEANUP(sasl_free) struct sasl *sasl = NULL;
        struct error err = {0};
        int rc = sasl_start(&credentials, row->with & BOUND ? &EXPORTER : NULL, row->offered,
                            row->with & CLEAR, &sasl, &err);
        const char *is = rc == 0 ? sasl_mechanism(sasl) : error_word(err.code);
        const char *want = row->mechanism != NULL ? row->mechanism : error_word(row->code);
        cr_expect_str_eq(is, want, "row %zu, %s of %s: %s rather than %s (%s)", i, row->wanted,
                         row->offered, is, want, err.detail);
    }
}

Test(sasl, wanted)
{
    static const struct {
        struct sasl_credentials credentials;
        bool wanted;
    } rows[] = {
        {{.mechanism = "auto", .user = "alice"}, true},
        {{.mechanism = "auto"}, false},
        {{0}, false},
        {{.mechanism = "plain", .password = "x"}, false},
        {{.mechanism = "external"}, true},
        {{.mechanism = "gssapi"}, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(sasl_wanted(&rows[i].credentials), rows[i].wanted, "row %zu", i);
}

/* --- whole exchanges ---------------------------------------------------------------------- */

struct peer {
    const char *user, *password;
    const struct sasl_binding *binding;
    const char *iterations; /* NULL: the library's */
    const char *external_as;
};

static int serve_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
    const struct peer *peer = gsasl_callback_hook_get(library);
    const struct sasl_binding *binding = peer->binding;
    switch ((int)property) {
    case GSASL_PASSWORD:
        gsasl_property_set(session, GSASL_PASSWORD, peer->password);
        return GSASL_OK;
    case GSASL_CB_TLS_EXPORTER:
        if (binding->tls_exporter[0] == '\0')
            return GSASL_NO_CALLBACK;
        gsasl_property_set(session, property, binding->tls_exporter);
        return GSASL_OK;
    case GSASL_CB_TLS_UNIQUE:
        if (binding->tls_unique[0] == '\0')
            return GSASL_NO_CALLBACK;
        gsasl_property_set(session, property, binding->tls_unique);
        return GSASL_OK;
    case GSASL_SCRAM_ITER:
        if (peer->iterations == NULL)
            return GSASL_NO_CALLBACK;
        gsasl_property_set(session, property, peer->iterations);
        return GSASL_OK;
    case GSASL_VALIDATE_EXTERNAL: {
        const char *as = gsasl_property_fast(session, GSASL_AUTHZID);
        return strcmp(as != NULL ? as : "", peer->external_as) == 0 ? GSASL_OK
                                                                    : GSASL_AUTHENTICATION_ERROR;
    }
    case GSASL_QOPS:
        gsasl_property_set(session, property, "qop-auth");
        return GSASL_OK;
    case GSASL_REALM:
        gsasl_property_set(session, property, "smtp.test");
        return GSASL_OK;
    default:
        return GSASL_NO_CALLBACK;
    }
}

struct outcome {
    int server; /* GSASL_OK: it lets us in */
    int client; /* 0, or -1 with `err` */
    struct error err;
    char said[2][2048]; /* the client's first and second response, decoded */
    bool accepted;      /* what the server has shown suffices */
};

/* Our response in base64 to the server's next challenge; GSASL_OK when it is content. */
static int serve(Gsasl_session *server, struct buffer *line, char **challenge)
{
    buffer_append_char(line, '\0');
    return gsasl_step64(server, line->data, challenge);
}

static void note(struct outcome *outcome, int turn, const struct buffer *line)
{
    char *octets = NULL;
    size_t len = 0;
    if (turn < 2 && gsasl_base64_from(line->data, line->len, &octets, &len) == GSASL_OK)
        for (size_t i = 0; i < len && i + 1 < sizeof(outcome->said[0]); i++)
            outcome->said[turn][i] = octets[i] != '\0' ? octets[i] : '|';
    gsasl_free(octets);
}

static void talk(struct sasl *sasl, Gsasl_session *server, struct outcome *outcome)
{
    char *challenge = NULL;
    outcome->server = GSASL_NEEDS_MORE;
    if (!sasl_client_first(sasl))
        outcome->server = gsasl_step64(server, NULL, &challenge);
    for (int turn = 0; turn < 6; turn++) {
        CLEANUP(buffer_clear) struct buffer line;
        buffer_init(&line, 12288);
        if (outcome->server != GSASL_NEEDS_MORE && challenge == NULL)
            break;
        outcome->client = sasl_step(sasl, challenge, &line, &outcome->err);
        gsasl_free(challenge);
        challenge = NULL;
        if (outcome->client < 0)
            break;
        note(outcome, turn, &line);
        if (outcome->server != GSASL_NEEDS_MORE)
            break;
        outcome->server = serve(server, &line, &challenge);
        if (challenge != NULL && challenge[0] == '\0' && outcome->server == GSASL_OK) {
            gsasl_free(challenge); /* nothing more to be shown */
            challenge = NULL;
        }
    }
    gsasl_free(challenge);
    struct error ignored;
    outcome->accepted = outcome->client == 0 && sasl_accept(sasl, &ignored) == 0;
}

/* `offered` is what the client sees, `mechanism` what the server does. */
static struct outcome exchange(const struct sasl_credentials *credentials,
                               const struct sasl_binding *binding, const char *offered,
                               const char *mechanism, struct peer *peer)
{
    struct outcome outcome = {.client = -1};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    Gsasl *library = NULL;
    Gsasl_session *server = NULL;
    if (sasl_start(credentials, binding, offered, true, &sasl, &outcome.err) < 0)
        return outcome;
    cr_expect_str_eq(sasl_mechanism(sasl), mechanism);
    gsasl_init(&library);
    gsasl_callback_set(library, serve_property);
    gsasl_callback_hook_set(library, peer);
    cr_assert_eq(gsasl_server_start(library, mechanism, &server), GSASL_OK);
    gsasl_property_set(server, GSASL_SERVICE, "smtp");
    gsasl_property_set(server, GSASL_HOSTNAME, "mx.example");
    talk(sasl, server, &outcome);
    gsasl_finish(server);
    gsasl_done(library);
    return outcome;
}

static const struct {
    const char *user, *password;
} PEOPLE[] = {
    {"alice@smtp.test", "wonderland"},
    {"bob@smtp.test", "p@ss \"w0rd\" \\ 100% ünï"},
    {"a=b,c", "="},
    {"Jürgen", "%s%n%00 ,,=2C"},
};

enum { N_PEOPLE = sizeof(PEOPLE) / sizeof(PEOPLE[0]) };

Test(sasl, every_password_mechanism)
{
    static const char *const names[] = {"DIGEST-MD5",    "CRAM-MD5",         "SCRAM-SHA-1",
                                        "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"};
    for (size_t i = 0; i < 2 * N_PEOPLE * sizeof(names) / sizeof(names[0]); i++) {
        const char *name = names[i / (2 * N_PEOPLE)], *user = PEOPLE[i / 2 % N_PEOPLE].user;
        const char *password = PEOPLE[i / 2 % N_PEOPLE].password;
        bool right = i % 2 == 0, plus = strstr(name, "PLUS") != NULL;
        struct sasl_credentials credentials = {.mechanism = name,
                                               .user = user,
                                               .password = right ? password : "wrong",
                                               .host = "mx.example"};
        struct peer peer = {.password = password, .binding = plus ? &EXPORTER : &NONE};
        struct outcome outcome = exchange(&credentials, peer.binding, name, name, &peer);
        cr_expect_eq(outcome.server == GSASL_OK, right, "%s, %s: %s, %s", name, user,
                     gsasl_strerror_name(outcome.server), outcome.err.detail);
        if (right)
            cr_expect(outcome.accepted, "%s, %s: %s", name, user, outcome.err.detail);
    }
}

/* The octets themselves, for there libgsasl has no opinion. */
Test(sasl, plain_and_login_carry_all_octets)
{
    static const char *const passwords[] = {"p@ss \"w0rd\" \\ 100% ünï", "\xff\xfe latin\xfc",
                                            "\x01\x1f\x7f"};
    for (size_t i = 0; i < sizeof(passwords) / sizeof(passwords[0]); i++) {
        struct sasl_credentials credentials = {
            .mechanism = "plain", .user = "al|ce", .password = passwords[i]};
        char want[128];
        snprintf(want, sizeof(want), "|al|ce|%s", passwords[i]);
        struct peer peer = {.password = passwords[i], .binding = &NONE};
        struct outcome outcome = exchange(&credentials, NULL, "PLAIN", "PLAIN", &peer);
        cr_expect_str_eq(outcome.said[0], want);
        credentials.mechanism = "login";
        outcome = exchange(&credentials, NULL, "LOGIN", "LOGIN", &peer);
        cr_expect_str_eq(outcome.said[0], "al|ce");
        cr_expect_str_eq(outcome.said[1], passwords[i]);
    }
}

/* CRAM-MD5 signs with the octets themselves; libgsasl's server prepares them, so the peer is an
 * HMAC from elsewhere: printf %s CHALLENGE | openssl dgst -md5 -mac HMAC -macopt key:PASSWORD */
Test(sasl, cram_md5_signs_with_the_octets)
{
    static const struct {
        const char *user, *password, *signature;
    } rows[] = {
        {"tim", "tanstaaftanstaaf", "b913a602c7eda7a495b4e6e7334d3890"}, /* RFC 2195, 2 */
        {"u", "m\xc2\xb2pass12", "ad30bb551b8943c08bade53530144645"},
        {"u", "\xf0\x9f\x90\xb1 cat", "f2df0cd6f2d0a1bf308cccbcbea37c12"},
        {"j\xc3\xbcrgen", "latin\xfc", "98fd592cbb81580637944ee39ea1e75f"},
        {"u", "\x01\x7f\xe2\x85\xa7\xef\xac\x81", "4cd7301ca86540f0006b9ee168c4210e"},
    };
    static const char challenge[] = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sasl_credentials credentials = {
            .mechanism = "cram-md5", .user = rows[i].user, .password = rows[i].password};
        CLEANUP(sasl_free) struct sasl *sasl = NULL;
        CLEANUP(buffer_clear) struct buffer line;
        struct error err;
        char want[128], *said = NULL;
        size_t len = 0;
        buffer_init(&line, 12288);
        cr_assert_eq(sasl_start(&credentials, NULL, "CRAM-MD5", false, &sasl, &err), 0);
        cr_assert_eq(sasl_step(sasl, challenge, &line, &err), 0, "row %zu: %s", i, err.detail);
        cr_assert_eq(gsasl_base64_from(line.data, line.len, &said, &len), GSASL_OK);
        snprintf(want, sizeof(want), "%s %s", rows[i].user, rows[i].signature);
        cr_expect(len == strlen(want) && memcmp(said, want, len) == 0, "row %zu: %.*s", i, (int)len,
                  said);
        gsasl_free(said);
        cr_expect_eq(sasl_step(sasl, challenge, &line, &err), -1);
        cr_expect_eq(err.code, ERR_PROTOCOL);
    }
}

/* What cannot be used with these credentials is not chosen, unless it was asked for by name. */
Test(sasl, a_mechanism_that_cannot_carry_them_is_passed_over)
{
    struct sasl_credentials credentials = {
        .mechanism = "auto", .user = "alice", .password = "latin\xfc", .domain = "SMTP"};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    struct error err;
    cr_assert_eq(sasl_start(&credentials, NULL, "NTLM PLAIN", true, &sasl, &err), 0, "%s",
                 err.detail);
    cr_expect_str_eq(sasl_mechanism(sasl), "PLAIN");
    sasl_free(TAKE(sasl));
    cr_expect_eq(sasl_start(&credentials, NULL, "NTLM", true, &sasl, &err), -1);
    cr_expect_eq(err.code, ERR_AUTH_FAILED);
    cr_expect_not_null(strstr(err.detail, "characters"), "%s", err.detail);
    credentials.mechanism = "ntlm";
    cr_expect_eq(sasl_start(&credentials, NULL, "NTLM PLAIN", true, &sasl, &err), -1);
    cr_expect_eq(err.code, ERR_AUTH_FAILED);
}

/* The prompts of LOGIN are for people, whatever their words and their coding. */
Test(sasl, login_ignores_what_prompts_say)
{
    static const char *const prompts[][2] = {{"Username:", "Password:"},
                                             {"", ""},
                                             {"VXNlcm5hbWU6", "go ahead!"},
                                             {"\xc3\xa4\xc3\xb6", "===="}};
    for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++) {
        const struct sasl_credentials credentials = {
            .mechanism = "login", .user = "alice", .password = "wonderland"};
        static const char *const want[] = {"YWxpY2U=", "d29uZGVybGFuZA=="};
        CLEANUP(sasl_free) struct sasl *sasl = NULL;
        struct error err;
        cr_assert_eq(sasl_start(&credentials, NULL, "LOGIN", true, &sasl, &err), 0);
        for (size_t k = 0; k < 2; k++) {
            CLEANUP(buffer_clear) struct buffer line;
            buffer_init(&line, 12288);
            cr_assert_eq(sasl_step(sasl, prompts[i][k], &line, &err), 0, "%s", err.detail);
            buffer_append_char(&line, '\0');
            cr_expect_str_eq(line.data, want[k]);
        }
    }
}

Test(sasl, external_says_as_whom)
{
    static const char *const users[] = {NULL, "alice@smtp.test"};
    for (size_t i = 0; i < 2; i++) {
        struct sasl_credentials credentials = {.mechanism = "external", .user = users[i]};
        struct peer peer = {.external_as = users[i] != NULL ? users[i] : "", .binding = &NONE};
        struct outcome outcome = exchange(&credentials, NULL, "EXTERNAL", "EXTERNAL", &peer);
        cr_expect_eq(outcome.server, GSASL_OK, "%s", gsasl_strerror_name(outcome.server));
    }
}

/* --- SCRAM -------------------------------------------------------------------------------- */

static struct outcome scram(const char *offered, const char *mechanism,
                            const struct sasl_binding *ours, const struct sasl_binding *theirs)
{
    static const struct sasl_credentials credentials = {
        .mechanism = "auto", .user = "alice", .password = "wonderland"};
    struct peer peer = {.password = "wonderland", .binding = theirs};
    return exchange(&credentials, ours, offered, mechanism, &peer);
}

/* RFC 5802, 6: what the first letters say of binding, and what a server makes of it. */
Test(sasl, scram_binding)
{
    static const struct {
        const char *name, *offered, *mechanism;
        const struct sasl_binding *ours, *theirs;
        const char *header;
        bool in;
    } rows[] = {
        {"exporter", "SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", &EXPORTER, &EXPORTER,
         "p=tls-exporter,,", true},
        {"unique", "SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", &UNIQUE, &UNIQUE,
         "p=tls-unique,,", true},
        {"exporter first", "SCRAM-SHA-1 SCRAM-SHA-1-PLUS", "SCRAM-SHA-1-PLUS", &BOTH, &BOTH,
         "p=tls-exporter,,", true},
        {"unique, sha-1", "SCRAM-SHA-1 SCRAM-SHA-1-PLUS", "SCRAM-SHA-1-PLUS", &UNIQUE, &BOTH,
         "p=tls-unique,,", true},
        {"another connection", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", &EXPORTER, &OTHER,
         "p=tls-exporter,,", false},
        {"not offered", "SCRAM-SHA-256", "SCRAM-SHA-256", &EXPORTER, &NONE, "y,,", true},
        {"taken from the offer", "SCRAM-SHA-256", "SCRAM-SHA-256", &EXPORTER, &EXPORTER, "y,,",
         false},
        {"nothing to bind to", "SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", NULL, &EXPORTER,
         "n,,", true},
        {"neither side", "SCRAM-SHA-256", "SCRAM-SHA-256", &NONE, &NONE, "n,,", true},
        {"only another's -PLUS", "SCRAM-SHA-256 SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", &EXPORTER,
         &EXPORTER, "n,,", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct outcome outcome =
            scram(rows[i].offered, rows[i].mechanism, rows[i].ours, rows[i].theirs);
        cr_expect_eq(strncmp(outcome.said[0], rows[i].header, strlen(rows[i].header)), 0, "%s: %s",
                     rows[i].name, outcome.said[0]);
        cr_expect_eq(outcome.server == GSASL_OK && outcome.accepted, rows[i].in, "%s: %s, %s",
                     rows[i].name, gsasl_strerror_name(outcome.server), outcome.err.detail);
    }
}

/* One step with a challenge in plain text. */
static int answer(struct sasl *sasl, const char *challenge, struct error *err)
{
    CLEANUP(buffer_clear) struct buffer line;
    buffer_init(&line, 12288);
    char *base64 = base64_encode_str(challenge, strlen(challenge));
    int rc = sasl_step(sasl, base64, &line, err);
    free(base64);
    return rc;
}

/* Begun, and the nonce it came up with. */
static struct sasl *begin_scram(const char *name, char nonce_out[128])
{
    static const struct sasl_credentials credentials = {.user = "user", .password = "pencil"};
    struct sasl *sasl = NULL;
    struct error err;
    CLEANUP(buffer_clear) struct buffer line;
    buffer_init(&line, 12288);
    cr_assert_eq(sasl_start(&credentials, NULL, name, false, &sasl, &err), 0);
    cr_assert_eq(sasl_step(sasl, NULL, &line, &err), 0);
    char *first = NULL;
    size_t len = 0;
    gsasl_base64_from(line.data, line.len, &first, &len);
    cr_assert_eq(strncmp(first, "n,,n=user,r=", 12), 0);
    snprintf(nonce_out, 128, "%.*s", (int)(len - 12), first + 12);
    gsasl_free(first);
    return sasl;
}

Test(sasl, scram_hostile_challenges)
{
    static const struct {
        const char *before, *after; /* the nonce */
        enum error_code code;
    } rows[] = {
        {"r=", "x,s=c2FsdA==,i=4096", ERR_NONE},
        {"r=", "x,s=c2FsdA==,i=4096,x=ignored", ERR_NONE},
        {"r=", ",s=c2FsdA==,i=4096", ERR_PROTOCOL}, /* nothing of the server's */
        {"r=x", "x,s=c2FsdA==,i=4096", ERR_PROTOCOL},
        {"m=must,r=", "x,s=c2FsdA==,i=4096", ERR_PROTOCOL},
        {"r=", "x,s=,i=4096", ERR_PROTOCOL},
        {"r=", "x,s=!!!!,i=4096", ERR_PROTOCOL},
        {"r=", "x,i=4096,s=c2FsdA==", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==,i=", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==,i=1", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==,i=4095", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==,i=-4096", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==,i=4294971392", ERR_PROTOCOL}, /* 4096 in 32 bits */
        {"r=", "x,s=c2FsdA==,i=99999999999999999999", ERR_PROTOCOL},
        {"r=", "x,s=c2FsdA==,i=2000001", ERR_PROTOCOL},
        {"", "", ERR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char nonce[128], challenge[512];
        CLEANUP(sasl_free) struct sasl *sasl = begin_scram("SCRAM-SHA-256", nonce);
        snprintf(challenge, sizeof(challenge), "%s%s%s", rows[i].before, nonce, rows[i].after);
        struct error err = {0};
        answer(sasl, challenge, &err);
        cr_expect_eq(err.code, rows[i].code, "%s: %s", challenge, err.detail);
    }
}

/* Somebody who does not know the password plays the server: to say yes is not enough. */
Test(sasl, scram_server_must_prove_itself)
{
    static const struct {
        const char *last;
        enum error_code code;
    } rows[] = {
        {NULL, ERR_NONE},
        {"", ERR_PROTOCOL},
        {"v=", ERR_PROTOCOL},
        {"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", ERR_PROTOCOL},
        {"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ERR_PROTOCOL},
        {"e=invalid-proof", ERR_AUTH_FAILED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char nonce[128], challenge[512];
        CLEANUP(sasl_free) struct sasl *sasl = begin_scram("SCRAM-SHA-256", nonce);
        struct error err = {0};
        cr_expect_eq(sasl_accept(sasl, &err), -1);
        snprintf(challenge, sizeof(challenge), "r=%sx,s=c2FsdA==,i=4096", nonce);
        cr_assert_eq(answer(sasl, challenge, &err), 0);
        err = (struct error){0};
        if (rows[i].last != NULL)
            answer(sasl, rows[i].last, &err);
        cr_expect_eq(err.code, rows[i].code, "%s: %s", rows[i].last, err.detail);
        cr_expect_eq(sasl_accept(sasl, &err), -1, "%s", rows[i].last);
        cr_expect_eq(err.code, ERR_PROTOCOL);
    }
}

/* --- NTLM --------------------------------------------------------------------------------- */

/* Of a type 3 message, at an offset of its header: length, and where it is. */
static size_t ntlm_field(const char *message, size_t at, size_t *offset_out)
{
    const unsigned char *m = (const unsigned char *)message + at;
    *offset_out = m[4] | (size_t)m[5] << 8;
    return m[0] | (size_t)m[1] << 8;
}

static void ntlm_text(const char *message, size_t at, char *out, size_t size)
{
    size_t offset, len = ntlm_field(message, at, &offset);
    for (size_t i = 0; i < len / 2 && i + 1 < size; i++)
        out[i] = message[offset + 2 * i]; /* UTF-16 */
    out[len / 2] = '\0';
}

/* gss-ntlmssp's acceptor, which asks the file that NTLM_USER_FILE names. True: it lets us in. */
static bool talk_ntlm(struct sasl *sasl, char *user_out, char *domain_out, size_t size)
{
    static gss_OID_desc oid = {10, (void *)"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"};
    gss_OID_set_desc only = {1, &oid};
    gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    OM_uint32 minor, major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &only,
                                              GSS_C_ACCEPT, &credential, NULL, NULL);
    char *challenge = NULL;
    cr_assert_eq(major, GSS_S_COMPLETE, "gss-ntlmssp is not installed");
    major = GSS_S_CONTINUE_NEEDED;
    for (int turn = 0; turn < 2 && major == GSS_S_CONTINUE_NEEDED; turn++) {
        CLEANUP(buffer_clear) struct buffer line;
        buffer_init(&line, 12288);
        struct error err = {0};
        cr_assert_eq(sasl_step(sasl, challenge, &line, &err), 0, "%s", err.detail);
        free(challenge);
        challenge = NULL;
        gss_buffer_desc in, out = GSS_C_EMPTY_BUFFER;
        char *octets = NULL;
        cr_assert_eq(gsasl_base64_from(line.data, line.len, &octets, &in.length), GSASL_OK);
        in.value = octets;
        if (turn == 1) {
            size_t ignored;
            cr_expect_gt(ntlm_field(octets, 20, &ignored), 24, "an answer of NTLMv1");
            ntlm_text(octets, 28, domain_out, size);
            ntlm_text(octets, 36, user_out, size);
        }
        major = gss_accept_sec_context(&minor, &context, credential, &in, GSS_C_NO_CHANNEL_BINDINGS,
                                       NULL, NULL, &out, NULL, NULL, NULL);
        if (major == GSS_S_CONTINUE_NEEDED)
            challenge = base64_encode_str(out.value, out.length);
        gsasl_free(octets);
        gss_release_buffer(&minor, &out);
    }
    free(challenge);
    gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);
    gss_release_cred(&minor, &credential);
    return major == GSS_S_COMPLETE;
}

/* The acceptor loses memory with each password that it hashes: see nthash.h. */
static bool accept_ntlm(struct sasl *sasl, char *user_out, char *domain_out, size_t size)
{
    __lsan_disable();
    bool in = talk_ntlm(sasl, user_out, domain_out, size);
    __lsan_enable();
    return in;
}

Test(sasl, ntlm_version_2)
{
    static const struct {
        const char *user, *domain, *password;
        const char *as, *of;
        bool in;
    } rows[] = {
        {"alice", "SMTP", "p@ss \"w0rd\" \\ 100% ünï", "alice", "SMTP", true},
        {"SMTP\\alice", NULL, "p@ss \"w0rd\" \\ 100% ünï", "alice", "SMTP", true},
        {"SMTP\\alice", "OTHER", "p@ss \"w0rd\" \\ 100% ünï", "alice", "SMTP", true},
        {"alice", NULL, "p@ss \"w0rd\" \\ 100% ünï", "alice", "", true},
        {"alice", "SMTP", "wrong", "alice", "SMTP", false},
    };
    char path[] = "/tmp/postern-ntlm-XXXXXX";
    int fd = mkstemp(path);
    dprintf(fd, "SMTP:alice:p@ss \"w0rd\" \\ 100%% ünï\n");
    close(fd);
    setenv("NTLM_USER_FILE", path, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct sasl_credentials credentials = {.mechanism = "ntlm",
                                                     .user = rows[i].user,
                                                     .domain = rows[i].domain,
                                                     .password = rows[i].password,
                                                     .host = "mx.example"};
        CLEANUP(sasl_free) struct sasl *sasl = NULL;
        struct error err = {0};
        char user[64] = "", domain[64] = "";
        int rc = sasl_start(&credentials, NULL, "NTLM", false, &sasl, &err);
        cr_expect_eq(rc, 0, "%s", err.detail);
        if (rc < 0)
            break;
        cr_expect_eq(accept_ntlm(sasl, user, domain, sizeof(user)), rows[i].in, "row %zu", i);
        cr_expect_str_eq(user, rows[i].as);
        cr_expect_str_eq(domain, rows[i].of);
    }
    unlink(path);
}

/* Asked for, it is told what to install; of several, the next is taken. */
Test(sasl, ntlm_not_installed)
{
    const struct sasl_credentials credentials = {
        .user = "alice", .domain = "SMTP", .password = "x"};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    struct error err = {0};
    setenv("GSS_MECH_CONFIG", "/dev/null", 1);
    cr_expect_eq(sasl_start(&credentials, NULL, "NTLM", true, &sasl, &err), -1);
    cr_expect_eq(err.code, ERR_AUTH_MECHANISM_UNAVAILABLE);
    cr_expect_not_null(strstr(err.detail, "gss-ntlmssp"), "%s", err.detail);
    cr_assert_eq(sasl_start(&credentials, NULL, "NTLM LOGIN", true, &sasl, &err), 0);
    cr_expect_str_eq(sasl_mechanism(sasl), "LOGIN");
}

Test(sasl, ntlm_nonsense_for_a_challenge)
{
    const struct sasl_credentials credentials = {.user = "alice", .password = "x"};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    CLEANUP(buffer_clear) struct buffer line;
    buffer_init(&line, 12288);
    struct error err = {0};
    cr_assert_eq(sasl_start(&credentials, NULL, "NTLM", false, &sasl, &err), 0, "%s", err.detail);
    cr_assert_eq(sasl_step(sasl, NULL, &line, &err), 0, "%s", err.detail);
    cr_expect_eq(sasl_step(sasl, "VGhpcyBpcyBub25zZW5zZQ==", &line, &err), -1);
    cr_expect_eq(err.code, ERR_PROTOCOL, "%s: %s", error_word(err.code), err.detail);
}

/* No ticket: the library's own words come through. */
Test(sasl, gssapi_without_a_ticket)
{
    const struct sasl_credentials credentials = {.mechanism = "gssapi", .host = "mx.example"};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    CLEANUP(buffer_clear) struct buffer line;
    buffer_init(&line, 12288);
    struct error err = {0};
    setenv("KRB5CCNAME", "FILE:/nonexistent/cache", 1);
    setenv("KRB5_CONFIG", "/dev/null", 1);
    cr_assert_eq(sasl_start(&credentials, NULL, "GSSAPI", false, &sasl, &err), 0, "%s", err.detail);
    cr_expect_eq(sasl_step(sasl, NULL, &line, &err), -1);
    cr_expect_eq(err.code, ERR_AUTH_FAILED, "%s: %s", error_word(err.code), err.detail);
    cr_expect_not_null(strstr(err.detail, "/nonexistent/cache"), "%s", err.detail);
}

/* RFC 7628, 4.1, with our port. */
Test(sasl, oauthbearer_names_the_server)
{
    const struct sasl_credentials credentials = {.mechanism = "oauthbearer",
                                                 .user = "user@example.com",
                                                 .host = "server.example.com",
                                                 .port = 587,
                                                 .token =
                                                     "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    CLEANUP(buffer_clear) struct buffer line;
    buffer_init(&line, 12288);
    struct error err = {0};
    cr_assert_eq(sasl_start(&credentials, NULL, "OAUTHBEARER", true, &sasl, &err), 0);
    cr_assert_eq(sasl_step(sasl, NULL, &line, &err), 0);
    buffer_append_char(&line, '\0');
    cr_expect_str_eq(
        line.data,
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyI"
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB");
}

/* --- what must not be shown --------------------------------------------------------------- */

Test(sasl, secrets_in_texts)
{
    static const struct {
        const char *text;
        bool reveals;
    } rows[] = {
        {"5.7.8 authentication failed", false},
        {"", false},
        {"bad: hunter2-secret!", true},
        {"AUTH PLAIN AGFsaWNlAGh1bnRlcjItc2VjcmV0", true},
        {"xAGFsaWNlAGh1bnRlcjItc2VjcmV0", true}, /* out of step */
        {"token t0ken-of-oauth", true},
        {"dXNlcj1hAWF1dGg9QmVhcmVyIHQwa2VuLW9mLW9hdXRoAQE=", true},
        {"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", false},
    };
    const struct sasl_credentials credentials = {
        .user = "alice", .password = "hunter2-secret", .token = "t0ken-of-oauth"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(sasl_text_reveals(&credentials, rows[i].text), rows[i].reveals, "%s",
                     rows[i].text);
    cr_expect_not(sasl_text_reveals(&(const struct sasl_credentials){.password = ""}, "anything"));
}

/* Who quotes a line of 2,000 octets cuts it. */
Test(sasl, the_begin_of_a_long_token_reveals_it)
{
    const struct sasl_credentials credentials = {
        .user = "alice", .token = "0123456789abcdefghijABCDEFGHIJklmnopqrstuvwxyz"};
    cr_expect(sasl_text_reveals(&credentials, "bad: 0123456789abcdefghijABCDEFGHIJklmn"));
    cr_expect_not(sasl_text_reveals(&credentials, "bad: 0123456789abcdefghijABCDEFGHIJ"));
    cr_expect(sasl_text_reveals(&credentials,
                                "bad: QmVhcmVyIDAxMjM0NTY3ODlhYmNkZWZnaGlqQUJDREVGR0hJSmtsbW4="));
}
