/* What is tortured: all that has hand-written unwinding. */

#include <dirent.h>
#include <jansson.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/decode.h"
#include "api/problem.h"
#include "base/arena.h"
#include "engine.h"
#include "message/compose.h"
#include "oauth/cache.h"
#include "oauth/grant.h"
#include "oauth/token.h"
#include "oauth/vault.h"
#include "smtp/dialogue.h"
#include "smtp/sasl.h"
#include "smtp/transport_tls.h"
#include "torture.h"

enum { T0 = 1795435200 };

static const char mail[] =
    "{\"from\": \"Zoë Ärger <zoe@example.com>\", \"to\": [\"bob@example.net\", {\"email\": "
    "\"ann@example.net\", \"name\": \"Ann (work)\"}], \"cc\": [\"c@example.org\"], \"subject\": "
    "\"Grüße aus Köln, und noch viel mehr davon als in eine Zeile passt\", \"text\": \"hello\\n\", "
    "\"html\": \"<p>hello <img src='cid:logo'></p>\", \"headers\": {\"X-Campaign\": \"spring\"}, "
    "\"attachments\": [{\"filename\": \"größe.txt\", \"content\": \"aGVsbG8=\"}, {\"filename\": "
    "\"logo.png\", \"content\": \"aGVsbG8=\", \"content_id\": \"logo\", \"disposition\": "
    "\"inline\"}], \"tags\": [\"a\", \"b\"], \"metadata\": {\"order\": \"7\"}}";

static const char settings[] =
    "listen: [\"127.0.0.1:0\"]\n"
    "queue: {store: \"memory:\", retry: [1m, 5m]}\n"
    "oauth:\n"
    "  - {name: m, provider: custom, grant: client_credentials, client_id: i,\n"
    "     client_secret: s, token_url: \"https://127.0.0.1:9/token\"}\n"
    "relays:\n"
    "  - {name: a, host: 127.0.0.1, port: 9, tls: none}\n"
    "  - {name: b, host: 127.0.0.1, port: 9, tls: implicit, auth: {username: u, oauth: m},\n"
    "     rate: {messages: [10/s, 100/m]}}\n"
    "  - {name: c, service: 'ses:eu-west-1', hostname: gw.example.com,\n"
    "     auth: {username: \"${NAME}\", password: \"x${UNSET:-y}z\\n\"}}\n"
    "  - {name: d, host: 'b\u00fccher.example', hostname: 'gw.b\u00fccher.example',\n"
    "     proxy: 'socks5://u:p%40@127.0.0.1:9'}\n"
    "api_keys:\n"
    "  - {name: shop, key: k, scopes: [send, read], relay: a}\n"
    "routes:\n"
    "  - {match: {to: \"*@example.net\"}, relays: [b, a]}\n"
    "  - {relays: [a]}\n";

/* --- files -------------------------------------------------------------------------------- */

struct folder {
    char path[64], file[128];
};

static void folder_make(struct folder *folder, const char *name)
{
    torture_pause();
    snprintf(folder->path, sizeof(folder->path), "/tmp/postern-torture-XXXXXX");
    TORTURE_CHECK(mkdtemp(folder->path) != NULL);
    snprintf(folder->file, sizeof(folder->file), "%s/%s", folder->path, name);
    torture_resume();
}

/* It holds files only. */
static void folder_remove(const struct folder *folder)
{
    torture_pause();
    DIR *dir = opendir(folder->path);
    TORTURE_CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    TORTURE_CHECK(rmdir(folder->path) == 0);
    torture_resume();
}

/* --- a request to the octets of a message ------------------------------------------------- */

static int compose_in(struct arena *arena, const json_t *tree, struct error *err)
{
    CLEANUP(error_list_clear) struct error_list errors = {0};
    const struct compose_options options = {
        .now_ms = T0 * 1000LL, .id = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .size_limit = 1 << 20};
    struct message message;
    struct envelope envelope;
    struct composed composed;
    if (decode_message(arena, tree, &message, &errors, err) < 0 ||
        message_envelope(arena, &message, &envelope, &errors, err) < 0 ||
        message_compose(arena, &message, &options, &composed, &errors, err) < 0)
        return -1;
    TORTURE_CHECK(errors.n_total == 0);
    TORTURE_CHECK(envelope.n_to == 3 && message.n_tags == 2 && message.metadata != NULL);
    const char *octets = composed.content->data;
    size_t len = composed.content->len;
    static const char *const parts[] = {"X-Campaign: spring",    "logo.png",
                                        "multipart/alternative", "Content-ID: <logo>",
                                        "ann@example.net",       "c@example.org"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        TORTURE_CHECK(memmem(octets, len, parts[i], strlen(parts[i])) != NULL);
    bytes_unref(composed.content);
    return 0;
}

static int compose(struct error *err)
{
    json_t *tree;
    if (decode_json(mail, strlen(mail), &tree, err) < 0)
        return -1;
    CLEANUP(arena_free) struct arena *arena = arena_new();
    int rc =
        arena != NULL ? compose_in(arena, tree, err) : error_set(err, ERR_NOMEM, "scenario's own");
    json_decref(tree);
    return rc;
}

/* --- settings, and all that is made of them ----------------------------------------------- */

static struct config *load(struct error *err)
{
    static const char *const environment[] = {"NAME=value", NULL};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    struct config *config = NULL;
    torture_pause();
    char path[] = "/tmp/postern-torture-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    TORTURE_CHECK(file != NULL);
    fputs(settings, file);
    fclose(file);
    torture_resume();
    int rc = config_load(path, environment, &config, &errors);
    remove(path);
    if (rc == 0) {
        TORTURE_CHECK(errors.n_total == 0);
        return config;
    }
    TORTURE_CHECK(errors.n_total > 0); /* kept or not: somebody has to tell it */
    bool memory = errors.n_items == 0 || strstr(errors.items[0].detail, "memory") != NULL;
    error_set(err, memory ? ERR_NOMEM : ERR_CONFIG, "%s",
              errors.n_items > 0 ? errors.items[0].detail : "nothing could be kept");
    return NULL;
}

static int load_config(struct error *err)
{
    CLEANUP(config_free) struct config *config = load(err);
    if (config == NULL)
        return -1;
    TORTURE_CHECK(config->n_relays == 4 && config->n_routes == 2 && config->n_oauth == 1);
    TORTURE_CHECK(config->relays[1].rate.messages.n_items == 2);
    TORTURE_CHECK(config->routes[0].relays.n_items == 2 && config->queue.n_retry == 2);
    TORTURE_CHECK(strcmp(config->relays[1].auth.oauth, "m") == 0);
    TORTURE_CHECK(config->relays[0].hostname == NULL ||
                  strchr(config->relays[0].hostname, '.') != NULL);
    TORTURE_CHECK(strcmp(config->relays[2].host, "email-smtp.eu-west-1.amazonaws.com") == 0);
    TORTURE_CHECK(strcmp(config->relays[2].hostname, "gw.example.com") == 0);
    TORTURE_CHECK(strcmp(config->relays[2].auth.username, "value") == 0);
    TORTURE_CHECK(strcmp(config->relays[2].auth.password, "xyz") == 0);
    TORTURE_CHECK(strcmp(config->relays[3].host, "xn--bcher-kva.example") == 0);
    TORTURE_CHECK(strcmp(config->relays[3].hostname, "gw.xn--bcher-kva.example") == 0);
    TORTURE_CHECK(strcmp(config->relays[3].proxy.password, "p@") == 0);
    TORTURE_CHECK(strcmp(config->api_keys[0].relay, "a") == 0);
    TORTURE_CHECK(config->api_keys[0].scopes == (SCOPE_SEND | SCOPE_READ));
    return 0;
}

static int start_engine(struct error *err)
{
    static struct config *config;
    struct engine engine;
    torture_pause();
    if (config == NULL) {
        config = load(err);
        torture_pause();
        TORTURE_CHECK(config != NULL);
    }
    torture_resume();
    if (engine_start(config, &engine, err) < 0)
        return -1;
    TORTURE_CHECK(relays_count(engine.relays) == 4 && engine.queue != NULL);
    engine_stop(&engine);
    return 0;
}

/* --- the store ---------------------------------------------------------------------------- */

static struct mail *write_letter(void)
{
    struct mail *mail = mail_new();
    if (mail == NULL)
        return NULL;
    mail->message_id = "<1@example.com>";
    mail->from = mail->sender = "a@example.com";
    mail->subject = "hello";
    mail->api_key = "shop";
    mail->tags = "[\"t\"]";
    mail->created_ms = T0 * 1000LL;
    mail->expires_ms = mail->created_ms + 3600000;
    mail->content = bytes_new(100);
    id_new(mail->created_ms, mail->id);
    if (mail->content == NULL || mail_reserve_recipients(mail, 2) < 0) {
        mail_free(mail);
        return NULL;
    }
    mail->recipients[0].address = "r1@example.net";
    mail->recipients[1].address = "r2@example.net";
    mail->size = (int64_t)mail->content->len;
    memset(mail->content->data, 'x', 100);
    return mail;
}

/* A turn whose items all stand, or the first fault of them. */
static int commit_turn(const struct store_ops *ops, struct store *store, struct store_turn *turn,
                       struct error *err)
{
    if (ops->commit(store, turn, err) < 0)
        return -1;
    const struct error *fault = turn->load.fault;
    for (size_t i = 0; i < turn->n_outcomes && fault == NULL; i++)
        fault = turn->outcomes[i].fault;
    for (size_t i = 0; i < turn->n_submissions && fault == NULL; i++)
        fault = turn->submissions[i].fault;
    if (fault == NULL)
        return 0;
    *err = *fault;
    return -1;
}

/* And the same again, in one turn. */
static int keep(const struct store_ops *ops, struct store *store, const struct mail *letter,
                struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    if (arena == NULL)
        return error_set(err, ERR_NOMEM, "scenario's own");
    static const uint8_t fingerprint[32];
    const struct store_submission one = {.mail = letter,
                                         .key = "k",
                                         .fingerprint = fingerprint,
                                         .answer_status = 202,
                                         .answer_body = "{\"first\":1}"};
    struct store_submission items[] = {one, one};
    struct store_turn turn = {
        .arena = arena, .now_ms = T0 * 1000LL, .submissions = items, .n_submissions = 2};
    if (commit_turn(ops, store, &turn, err) < 0)
        return -1;
    TORTURE_CHECK(items[0].result == STORE_SUBMIT_NEW && items[0].seq > 0);
    TORTURE_CHECK(items[1].result == STORE_SUBMIT_REPLAY && items[1].first_status == 202);
    TORTURE_CHECK(strcmp(items[1].first_body, "{\"first\":1}") == 0);
    return 0;
}

static void free_list(struct mail *list)
{
    for (struct mail *next; list != NULL; list = next) {
        next = list->next;
        mail_free(list);
    }
}

static int load_one(const struct store_ops *ops, struct store *store, struct arena *arena,
                    struct mail **list_out, struct error *err)
{
    struct store_turn turn = {
        .arena = arena, .now_ms = T0 * 1000LL + 1, .load = {.max_n = 10, .max_bytes = 1 << 20}};
    if (commit_turn(ops, store, &turn, err) < 0) {
        TORTURE_CHECK(turn.load.list == NULL);
        return -1;
    }
    struct mail *list = turn.load.list;
    TORTURE_CHECK(list != NULL && list->next == NULL && list->n_recipients == 2);
    TORTURE_CHECK(list->content->len == 100 && turn.load.next_due_ms == INT64_MAX);
    *list_out = list;
    return 0;
}

/* With a load and a purge beside it, which find nothing. */
static int settle(const struct store_ops *ops, struct store *store, struct arena *arena,
                  struct mail *delivery, struct error *err)
{
    static const enum recipient_status status[] = {RECIPIENT_SENT, RECIPIENT_DEFERRED};
    static const int64_t next_ms[] = {0, T0 * 1000LL + 60000};
    struct store_outcome outcome = {.mail = delivery, .status = status, .next_ms = next_ms};
    struct store_turn turn = {.arena = arena,
                              .now_ms = T0 * 1000LL + 2,
                              .keep_content = true,
                              .outcomes = &outcome,
                              .n_outcomes = 1,
                              .load = {.max_n = 10, .max_bytes = 1 << 20},
                              .purge = {.max_n = 10}};
    delivery->relay = "primary";
    delivery->n_sent = 1;
    int rc = commit_turn(ops, store, &turn, err);
    TORTURE_CHECK(turn.load.list == NULL);
    if (rc == 0 && turn.purge.fault != NULL) {
        *err = *turn.purge.fault;
        rc = -1;
    }
    TORTURE_CHECK(rc < 0 || outcome.due_ms == next_ms[1]);
    return rc;
}

static int deliver(const struct store_ops *ops, struct store *store, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct mail *list = NULL;
    if (arena == NULL)
        return error_set(err, ERR_NOMEM, "scenario's own");
    int rc = load_one(ops, store, arena, &list, err);
    if (rc == 0)
        rc = settle(ops, store, arena, list, err);
    free_list(list);
    return rc;
}

static int check_usage(const struct store_ops *ops, struct store *store, struct error *err)
{
    CLEANUP(usage_list_clear) struct usage_list list = {0};
    if (ops->usage(store, 0, &list, err) < 0)
        return -1;
    TORTURE_CHECK(list.n_items == 1 && list.items[0].n_recipients == 1);
    return 0;
}

static int look_up(const struct store_ops *ops, struct store *store, const char *id,
                   struct error *err)
{
    CLEANUP(mail_free) struct mail *record = NULL;
    if (ops->find(store, id, &record, err) < 0)
        return -1;
    TORTURE_CHECK(record->n_recipients == 2 && strcmp(record->subject, "hello") == 0);
    TORTURE_CHECK(record->recipients[0].status == RECIPIENT_SENT);
    TORTURE_CHECK(record->recipients[1].status == RECIPIENT_DEFERRED);
    return 0;
}

static int use_store(const struct store_ops *ops, const char *location, struct error *err)
{
    struct store *store = NULL;
    CLEANUP(mail_free) struct mail *letter = write_letter();
    if (letter == NULL)
        return error_set(err, ERR_NOMEM, "scenario's own");
    if (ops->open(location, &store, err) < 0)
        return -1;
    bool done = keep(ops, store, letter, err) == 0 && deliver(ops, store, err) == 0 &&
                look_up(ops, store, letter->id, err) == 0 && check_usage(ops, store, err) == 0;
    ops->close(store);
    return done ? 0 : -1;
}

static int use_store_memory(struct error *err)
{
    return use_store(&store_memory, "", err);
}

/* What a failure left is a store that can be used. */
static int use_store_sqlite(struct error *err)
{
    struct folder folder;
    folder_make(&folder, "queue.db");
    int rc = use_store(&store_sqlite, folder.file, err);
    if (rc < 0) {
        struct store *store = NULL;
        torture_pause();
        TORTURE_CHECK(store_sqlite.open(folder.file, &store, NULL) == 0);
        store_sqlite.close(store);
    }
    folder_remove(&folder);
    return rc;
}

/* --- TLS and logins ----------------------------------------------------------------------- */

static int make_tls(struct error *err)
{
    static const char *const pins[] = {"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL};
    const struct transport_tls_settings tls = {.server_name = "mx.example.net",
                                               .verify = true,
                                               .min_version = TLS1_2_VERSION,
                                               .pins = pins};
    CLEANUP(transport_tls_free) struct transport_tls *made = NULL;
    if (transport_tls_new(&tls, &made, err) < 0)
        return -1;
    struct transport_shown shown = {0};
    SSL *ssl = transport_tls_open(made, &shown);
    if (ssl == NULL)
        return error_set(err, ERR_NOMEM, "connection");
    SSL_free(ssl);
    return 0;
}

static int log_in_by(const struct sasl_credentials *credentials, const char *challenge,
                     struct error *err)
{
    static const struct sasl_binding binding = {.tls_exporter = "AAAA"};
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    CLEANUP(buffer_clear) struct buffer out;
    buffer_init(&out, 1 << 16);
    if (sasl_start(credentials, &binding,
                   "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS SCRAM-SHA-1 "
                   "XOAUTH2 OAUTHBEARER EXTERNAL",
                   true, &sasl, err) < 0 ||
        sasl_step(sasl, sasl_client_first(sasl) ? NULL : challenge, &out, err) < 0)
        return -1;
    if (out.failed)
        return error_set(err, ERR_NOMEM, "response");
    TORTURE_CHECK(out.len > 0);
    return 0;
}

static int log_in(struct error *err)
{
    static const struct {
        const char *mechanism, *challenge;
    } ways[] = {
        {"plain", NULL},
        {"login", "VXNlcm5hbWU6"},
        {"cram-md5", "PDFAZXhhbXBsZS5jb20+"},
        {"digest-md5",
         "cmVhbG09ImUiLG5vbmNlPSJuIixxb3A9ImF1dGgiLGFsZ29yaXRobT1tZDUtc2VzcyxjaGFyc2V0PXV0Zi04"},
        {"scram-sha-256", NULL},
        {"scram-sha-1", NULL},
        {"auto", NULL},
    };
    struct sasl_credentials credentials = {
        .user = "alice", .password = "pass word", .host = "mx.example.net", .port = 587};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        credentials.mechanism = ways[i].mechanism;
        if (log_in_by(&credentials, ways[i].challenge, err) < 0)
            return -1;
    }
    credentials = (struct sasl_credentials){.mechanism = "auto",
                                            .user = "alice",
                                            .host = "mx.example.net",
                                            .port = 587,
                                            .bearer = true,
                                            .token = "t0ken"};
    if (log_in_by(&credentials, NULL, err) < 0)
        return -1;
    credentials.mechanism = "xoauth2";
    return log_in_by(&credentials, NULL, err);
}

/* --- tokens ------------------------------------------------------------------------------- */

static int obtain_token(struct error *err)
{
    static const char answer[] = "{\"access_token\":\"t0ken\",\"token_type\":\"Bearer\","
                                 "\"expires_in\":3600,\"refresh_token\":\"r2\"}";
    struct config_oauth oauth = {.name = "m",
                                 .grant = CONFIG_OAUTH_REFRESH_TOKEN,
                                 .client_id = "i",
                                 .client_secret = "s",
                                 .token_url = "https://login.example/token"};
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct http_request request;
    struct oauth_token *token = NULL;
    char *refresh = NULL;
    if (arena == NULL)
        return error_set(err, ERR_NOMEM, "scenario's own");
    if (grant_request(&oauth, "r1", T0, arena, &request, err) < 0)
        return -1;
    TORTURE_CHECK(strstr(request.body, "refresh_token=r1") != NULL);
    if (oauth_token_parse(200, answer, strlen(answer), 0, &token, &refresh, err) < 0)
        return -1;
    TORTURE_CHECK(strcmp(oauth_token_secret(token), "t0ken") == 0 && strcmp(refresh, "r2") == 0);
    oauth_token_unref(token);
    free(refresh);
    return 0;
}

static int use_vault(const struct vault_settings *where, struct error *err)
{
    CLEANUP(vault_close) struct vault *vault = NULL;
    char *secret = NULL;
    if (vault_open(where, &vault, err) < 0 || vault_put(vault, "a", "one", err) < 0 ||
        vault_put(vault, "b", "two", err) < 0 || vault_put(vault, "a", "three", err) < 0 ||
        vault_put(vault, "b", NULL, err) < 0 || vault_get(vault, "a", &secret, err) < 0)
        return -1;
    TORTURE_CHECK(strcmp(secret, "three") == 0);
    free(secret);
    return 0;
}

static int use_vault_in_memory(struct error *err)
{
    static const struct vault_settings where = {.key = "0123456789abcdef0123456789abcdef"
                                                       "0123456789abcdef0123456789abcdef"};
    return use_vault(&where, err);
}

/* The key is made too. What a failure left is read by whoever opens it next. */
static int use_vault_in_file(struct error *err)
{
    struct folder folder;
    folder_make(&folder, "grants");
    const struct vault_settings where = {.path = folder.file};
    int rc = use_vault(&where, err);
    torture_pause();
    if (rc < 0)
        TORTURE_CHECK(use_vault(&where, NULL) == 0);
    folder_remove(&folder);
    return rc;
}

/* --- a conversation ----------------------------------------------------------------------- */

static int hear(struct smtp_dialogue *d, const char *said, struct error *err)
{
    char out[4096];
    if (smtp_dialogue_feed(d, said, strlen(said), 10, err) < 0)
        return -1;
    for (size_t n; (n = smtp_dialogue_pull(d, out, sizeof(out))) > 0;)
        smtp_dialogue_written(d, n, 10);
    return 0;
}

static int converse_in(struct smtp_dialogue *d, bool *begun, struct error *err)
{
    static const char *const recipients[] = {"bob@example.net", "ann@example.net"};
    static const char content[] = "Subject: hello\r\n\r\n.hello\r\n";
    const struct smtp_envelope envelope = {.sender = "alice@example.com",
                                           .recipients = recipients,
                                           .n_recipients = 2,
                                           .content = content,
                                           .content_len = strlen(content),
                                           .owner = d};
    if (hear(d, "220 mx\r\n", err) < 0 ||
        hear(d, "250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n", err) < 0 ||
        hear(d, "235 2.7.0 in\r\n", err) < 0 || smtp_dialogue_begin(d, &envelope, 10, err) < 0)
        return -1;
    *begun = true;
    return hear(d, "", err) < 0 ||
                   hear(d, "250 ok\r\n250 ok\r\n550 5.1.1 no such user\r\n354 go\r\n", err) < 0 ||
                   hear(d, "250 2.0.0 queued\r\n", err) < 0
               ? -1
               : 0;
}

static int converse(struct error *err)
{
    const struct smtp_options options = {
        .hostname = "client.example",
        .allow_plaintext_auth = true,
        .window = 4,
        .credentials = {.mechanism = "plain", .user = "alice", .password = "secret"},
        .timeouts = {1000, 1000, 1000, 1000},
    };
    struct smtp_dialogue *d = smtp_dialogue_new(&options, 0);
    if (d == NULL)
        return error_set(err, ERR_NOMEM, "dialogue");
    bool begun = false;
    int rc = converse_in(d, &begun, err);
    if (rc < 0)
        smtp_dialogue_lost(d);
    struct smtp_result result;
    bool ended = smtp_dialogue_next_result(d, &result);
    TORTURE_CHECK(ended == begun);
    TORTURE_CHECK(rc < 0 || (result.recipients[0].reply.code == 250 &&
                             result.recipients[1].reply.code == 550));
    smtp_dialogue_free(d);
    return rc;
}

/* --- an answer ---------------------------------------------------------------------------- */

static void note_answer(struct api_request *request)
{
    TORTURE_CHECK(request->param[0] == '\0');
    request->param = "answered";
}

/* Without memory it is a 503 all the same. */
static int answer_problem(struct error *err)
{
    struct api_request request = {.param = "", .complete = note_answer};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    error_list_add(&errors, "/to", "no recipient");
    problem_respond_errors(&request, PROBLEM_INVALID_MESSAGE, &errors);
    TORTURE_CHECK(strcmp(request.param, "answered") == 0);
    TORTURE_CHECK(request.response.status == 422 || request.response.status == 503);
    int rc = request.response.status == 422 ? 0 : error_set(err, ERR_NOMEM, "answer");
    free(request.response.body);
    return rc;
}

const struct torture_scenario torture_scenarios[] = {
    {"compose", compose},
    {"config", load_config},
    {"engine", start_engine},
    {"store memory", use_store_memory},
    {"store sqlite", use_store_sqlite},
    {"tls", make_tls},
    {"login", log_in},
    {"token", obtain_token},
    {"vault memory", use_vault_in_memory},
    {"vault file", use_vault_in_file},
    {"dialogue", converse},
    {"problem", answer_problem},
    {NULL, NULL},
};
