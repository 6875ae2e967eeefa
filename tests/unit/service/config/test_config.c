#include "config/config.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "config/check.h"
#include "config/provider.h"
#include "config/yaml.h"
#include "tests/unit/support/tls_peer.h"

/* Each test has a folder of its own; DIR in a file's or variable's text stands for it. */

static char dir[] = "/tmp/postern-config-XXXXXX";

/* In it stands both.pem, a certificate and its key. */
static void make_dir(void)
{
    char certificate[64], key[64], command[256];
    struct tls_identity identity;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/cert.key", dir);
    tls_identity_init(&identity, &(struct tls_identity_settings){.names = "DNS:h"});
    tls_identity_write(&identity, certificate, key);
    tls_identity_clear(&identity);
    snprintf(command, sizeof(command), "cat %s %s > %s/both.pem", certificate, key, dir);
    cr_assert_eq(system(command), 0);
}

static void remove_dir(void)
{
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(config, .init = make_dir, .fini = remove_dir);

static char *in_dir(const char *text)
{
    struct buffer out;
    buffer_init(&out, 1 << 22);
    for (const char *at; (at = strstr(text, "DIR")) != NULL; text = at + 3) {
        buffer_append(&out, text, (size_t)(at - text));
        buffer_append_str(&out, dir);
    }
    buffer_append_str(&out, text);
    return buffer_steal_str(&out);
}

static char *path_of(const char *name)
{
    char *path;
    cr_assert_gt(asprintf(&path, "%s/%s", dir, name), 0);
    return path;
}

static void put(const char *name, const char *content, size_t len)
{
    char *path = path_of(name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(content, 1, len, file), len);
    fclose(file);
    free(path);
}

static void put_str(const char *name, const char *content)
{
    char *text = in_dir(content);
    put(name, text, strlen(text));
    free(text);
}

struct loaded {
    struct config *config; /* NULL: refused */
    struct error_list errors;
};

enum { VARIABLES_MAX = 8 };

/* `yaml` NULL: no file. `variables` is ended by NULL. */
static struct loaded load(const char *yaml, const char *const *variables)
{
    struct loaded l = {0};
    char *environment[VARIABLES_MAX + 2] = {0};
    size_t n = 0;
    for (; variables != NULL && variables[n] != NULL; n++)
        environment[n] = in_dir(variables[n]);
    char *path = path_of("postern.yaml");
    if (yaml != NULL)
        put_str("postern.yaml", yaml);
    else
        unlink(path);
    int rc = config_load(yaml != NULL ? path : NULL, (const char *const *)environment, &l.config,
                         &l.errors);
    cr_assert_eq(rc == 0, l.config != NULL);
    cr_assert_eq(rc == 0, l.errors.n_total == 0);
    for (size_t i = 0; i < n; i++)
        free(environment[i]);
    free(path);
    return l;
}

static struct loaded load_env(const char *yaml, const char *a, const char *b)
{
    const char *const variables[] = {a, b, NULL};
    return load(yaml, variables);
}

static void clear(struct loaded *l)
{
    config_free(l->config);
    error_list_clear(&l->errors);
}

/* All faults as one text, a line each: "where: detail". The caller frees. */
static char *told(const struct loaded *l)
{
    struct buffer out;
    buffer_init(&out, 1 << 16);
    for (size_t i = 0; i < l->errors.n_items; i++)
        buffer_printf(&out, "%s: %s\n", l->errors.items[i].where, l->errors.items[i].detail);
    char *text = out.len > 0 ? buffer_steal_str(&out) : strdup("");
    buffer_clear(&out);
    return text;
}

static char *printed(const struct config *config)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print(config, out);
    fclose(out);
    return text;
}

struct row {
    const char *yaml;
    const char *why; /* NULL: taken; else a part of what is told */
};

static void expect(const struct row *rows, size_t n, const char *const *variables)
{
    for (size_t i = 0; i < n; i++) {
        struct loaded l = load(rows[i].yaml, variables);
        char *text = told(&l);
        char *why = rows[i].why != NULL ? in_dir(rows[i].why) : NULL;
        if (why == NULL)
            cr_expect_not_null(l.config, "%s: %s", rows[i].yaml, text);
        else
            cr_expect(l.config == NULL && strstr(text, why) != NULL, "%s: %s", rows[i].yaml, text);
        free(why);
        free(text);
        clear(&l);
    }
}

#define EXPECT(rows, variables) expect(rows, sizeof(rows) / sizeof(rows[0]), variables)

/* --- the file ----------------------------------------------------------------------------- */

Test(config, defaults_are_the_contract_s)
{
    struct loaded l = load("relays: [{host: h}]", NULL);
    const struct config *c = l.config;
    cr_assert_not_null(c);
    cr_expect_eq(c->listen.n_items, 1);
    cr_expect_str_eq(c->listen.items[0], "127.0.0.1:8080");
    cr_expect_eq(c->http.max_body, 32 << 20);
    cr_expect_eq(c->http.max_connections, 1024);
    cr_expect_eq(c->http.header_ms, 10000);
    cr_expect_eq(c->http.body_ms, 60000);
    cr_expect_eq(c->http.idle_ms, 60000);
    cr_expect_eq(c->http.memory, 256 << 20);
    cr_expect_str_eq(c->queue.store, "sqlite:/var/lib/postern/queue.db");
    cr_expect_eq(c->queue.n_retry, 8);
    cr_expect_eq(c->queue.retry_ms[0], 30000);
    cr_expect_eq(c->queue.retry_ms[7], 3600000);
    cr_expect_eq(c->queue.max_age_ms, 72 * 3600000);
    cr_expect_eq(c->queue.retain_content_ms, 0);
    cr_expect_eq(c->queue.retain_record_ms, 7 * 86400000);
    cr_expect_eq(c->queue.min_free, 64 << 20);
    cr_expect_eq(c->queue.in_memory, 64 << 20);
    cr_expect_eq(c->sandbox, CONFIG_SANDBOX_AUTO);
    cr_expect_eq(c->drain_ms, 25000);
    cr_expect_eq(c->log_level, LOG_LEVEL_INFO);
    cr_expect_eq(c->log_format, LOG_FORMAT_LOGFMT);
    const struct config_relay *relay = &c->relays[0];
    cr_expect_eq(relay->port, 587);
    cr_expect_eq(relay->tls, CONFIG_TLS_STARTTLS);
    cr_expect_eq(relay->tls_options.verify, 1);
    cr_expect_eq(relay->connections.max, 4);
    cr_expect_eq(relay->connections.idle_ms, 30000);
    cr_expect_eq(relay->connections.max_messages, 100);
    cr_expect_eq(relay->connections.lifetime_ms, 300000);
    cr_expect_eq(relay->timeouts.connect_ms, 10000);
    cr_expect_eq(relay->timeouts.tls_ms, 15000);
    cr_expect_eq(relay->timeouts.greeting_ms, 30000);
    cr_expect_eq(relay->timeouts.command_ms, 60000);
    cr_expect_eq(relay->timeouts.data_ms, 120000);
    cr_expect_eq(relay->timeouts.final_ms, 600000);
    cr_expect_eq(relay->on_in_doubt, 0);
    cr_expect_eq(relay->window, 16);
    cr_expect_eq(relay->max_recipients, 0);
    cr_expect_eq(relay->rate.messages.n_items, 0);
    cr_expect_eq(relay->rate.recipients.n_items, 0);
    cr_expect_eq(relay->tls_options.pins.n_items, 0);
    cr_expect_eq(relay->proxy.kind, CONFIG_PROXY_NONE);
    cr_expect_null(relay->source_address);
    cr_expect_null(relay->auth.domain);
    cr_expect_eq(c->n_routes, 0);
    cr_expect(relay->hostname == NULL || strchr(relay->hostname, '.') != NULL);
    cr_expect_eq(relay->without, 0);
    clear(&l);
}

Test(config, empty_files_are_no_fault)
{
    static const char *const empty[] = {"", "\n", "# nothing\n", "---\n", "{}", "null"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        struct loaded l = load(empty[i], NULL);
        cr_expect_not_null(l.config, "\"%s\"", empty[i]);
        clear(&l);
    }
}

Test(config, every_key_of_the_contract_that_is_supported)
{
    static const struct row rows[] = {
        {"listen: ['127.0.0.1:8080', '[::1]:8081', 'unix:/tmp/x']\n"
         "http: {max_body: 1MiB, max_connections: 7, timeouts: {header: 1s, body: 2s, idle: 3s},\n"
         "       memory: 2MiB}\n"
         "api_keys:\n"
         "  - {name: billing, scopes: [send, read, admin], from: ['*@example.com'],\n"
         "     to: ['*@example.net'], relay: primary,\n"
         "     sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b}\n"
         "relays:\n"
         "  - name: primary\n"
         "    host: smtp.example.com\n"
         "    port: 587\n"
         "    tls: starttls\n"
         "    tls_options: {ca_file: DIR/both.pem, certificate: DIR/both.pem,\n"
         "                  key: DIR/both.pem, min_version: \"1.2\", server_name: h,\n"
         "                  verify: true,\n"
         "                  pins: [sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=]}\n"
         "    auth: {mechanism: auto, username: u, password: p, domain: d}\n"
         "    connections: {max: 4, idle: 30s, max_messages: 100, lifetime: 300s}\n"
         "    window: 16\n"
         "    max_recipients: 50\n"
         "    rate: {messages: 30/m, recipients: [10/s, 10000/d]}\n"
         "    hostname: gw.example.com\n"
         "    timeouts: {connect: 10s, tls: 15s, greeting: 30s, command: 60s, data: 120s,\n"
         "               final: 600s}\n"
         "    proxy: socks5://u:p@h:1080\n"
         "    source_address: 192.0.2.1\n"
         "    on_in_doubt: hold\n"
         "  - {name: backup, service: office365, auth: {username: u, password: p}}\n"
         "routes:\n"
         "  - match: {from: '*@example.com', to: ['*@x', 'a@y', '*'], tag: t, api_key: billing,\n"
         "            priority: [high, low]}\n"
         "    relays: [primary, backup]\n"
         "  - {relays: backup}\n"
         "queue:\n"
         "  store: 'memory:'\n"
         "  retry: [30s, 1m]\n"
         "  max_age: 72h\n"
         "  retention: {content: 0s, record: 7d}\n"
         "  min_free: 64MiB\n"
         "  in_memory: 64MiB\n"
         "sandbox: off\n"
         "drain: 25s\n"
         "log: {level: debug, format: json}\n",
         NULL},
        {"{\"relays\": [{\"host\": \"h\", \"tls_options\": {\"min_version\": \"1.3\"}}]}", NULL},
        {"relays: [{host: h, tls_options: {min_version: 1.2}}]", NULL},
        {"http: {max_body: 1000000}", NULL},
        {"queue: {retry: 5m}", NULL},
        {"sandbox: on", NULL},
        {"sandbox: true", NULL},
        {"relays: null\napi_keys: ~\nlog:\n", NULL},
        {"relays: [{host: h, connections: {max: 1, idle: 0, max_messages: 0, lifetime: 0}}]", NULL},
    };
    EXPECT(rows, NULL);
}

Test(config, an_unknown_key_is_told_with_path_line_and_the_nearest)
{
    static const struct row rows[] = {
        {"\nlissen: x\n",
         "lissen: is not a setting; did you mean listen? (DIR/postern.yaml line 2)"},
        {"relay: []", "relay: is not a setting; did you mean relays?"},
        {"apikeys: []", "did you mean api_keys?"},
        {"htpp: {max_body: 1MiB}", "htpp: is not a setting; did you mean http?"},
        {"http:\n  max_boddy: 1\n", "http.max_boddy: is not a setting; did you mean http.max_body? "
                                    "(DIR/postern.yaml line 2)"},
        {"http: {timeouts: {idel: 1s}}", "did you mean http.timeouts.idle?"},
        {"relays:\n  - host: h\n    tsl: none\n",
         "relays[0].tsl: is not a setting; did you mean tls? (DIR/postern.yaml line 3)"},
        {"relays: [{host: h}, {name: b, host: h, hots: x}]", "relays[1].hots: is not a setting"},
        {"relays: [{host: h, auth: {pasword: x}}]", "did you mean auth.password?"},
        {"relays: [{host: h, auth: {pasword_file: x}}]", "did you mean auth.password_file?"},
        {"relays: [{host: h, auth: {username_file: x}}]", "auth.username_file: is not a setting"},
        {"relays: [{host: h, timeout: {tls: 1s}}]", "did you mean timeouts?"},
        {"api_keys: [{name: a, sha265: x}]", "did you mean sha256?"},
        {"zzzzzzz: 1", "zzzzzzz: is not a setting (DIR"},
        {"x: 1", "x: is not a setting (DIR"},
        {"Listen: x", "did you mean listen?"},
        {"'': 1", "is not a setting"},
        {"oauth: [{name: a, client: x}]", "oauth[0].client: is not a setting"},
        {"oauth: [{name: a, clientid: x}]", "did you mean client_id?"},
        {"oauht: []", "oauht: is not a setting; did you mean oauth?"},
        {"relays: [{host: h, auth: {ouath: m365}}]", "did you mean auth.oauth?"},
        {"secretkey: x", "did you mean secret_key?"},
        {"api_keys: [{name: a, rate: 1/s}]", "api_keys[0].rate: is not supported yet"},
        {"route: []", "route: is not a setting; did you mean routes?"},
        {"relays: [{host: h, ratte: {messages: 1/s}}]", "did you mean rate?"},
        {"relays: [{host: h, rate: {mesages: 1/s}}]", "did you mean rate.messages?"},
        {"relays: [{host: h, proxy_fil: x}]", "did you mean proxy_file?"},
        {"routes: [{match: {form: x}, relays: [r]}]",
         "routes[0].match.form: is not a setting; did you mean match.from?"},
        {"routes: [{match: {hour: x}, relays: [r]}]", "routes[0].match.hour: is not a setting"},
        {"dkim: []", "dkim: is not supported yet in this version"},
        {"http: {tls: {certificate: f}}", "http.tls: is not supported yet in this version"},
    };
    EXPECT(rows, NULL);
}

Test(config, a_wrong_type_is_told_with_path_and_line)
{
    static const struct row rows[] = {
        {"\n\nlisten: {a: b}", "listen: a string is wanted here (DIR/postern.yaml line 3)"},
        {"listen: ['127.0.0.1:1', [x]]", "listen[1]: a string is wanted here (DIR"},
        {"listen: [null]", "listen[0]: a string is wanted"},
        {"listen: true", "listen: a string is wanted"},
        {"http: 5", "http: a mapping of settings is wanted here (DIR/postern.yaml line 1)"},
        {"http: [1]", "http: a mapping"},
        {"http: {timeouts: x}", "http.timeouts: a mapping"},
        {"relays: x", "relays: a list is wanted here (DIR/postern.yaml line 1)"},
        {"relays: {host: h}", "relays: a list is wanted"},
        {"relays: [x]", "relays[0]: a mapping"},
        {"relays: [null]", "relays[0]: a mapping"},
        {"relays: [{host: [h]}]", "relays[0].host: a string is wanted"},
        {"relays: [{host: h, auth: x}]", "relays[0].auth: a mapping"},
        {"relays: [{host: h, port: x}]", "relays[0].port: a number from 1 to 65535 is wanted (DIR"},
        {"relays: [{host: h, port: 0}]", "relays[0].port: a number"},
        {"relays: [{host: h, port: 65536}]", "relays[0].port: a number"},
        {"relays: [{host: h, port: -1}]", "relays[0].port: a number"},
        {"relays: [{host: h, port: 99999999999999999999}]", "relays[0].port: a number"},
        {"relays: [{host: h, port: ''}]", "relays[0].port: a number"},
        {"relays: [{host: h, port: true}]", "relays[0].port: a string is wanted"},
        {"relays: [{host: h, connections: {max: 0}}]", "connections.max: a number from 1"},
        {"relays: [{host: h, connections: {max_messages: ''}}]", "max_messages: a number from 0"},
        {"relays: [{host: h, window: 0}]", "relays[0].window: a number from 1 to 1000 is wanted"},
        {"relays: [{host: h, window: 1001}]", "relays[0].window: a number"},
        {"relays: [{host: h, max_recipients: -1}]", "relays[0].max_recipients: a number from 0"},
        {"relays: [{host: h, rate: 30/m}]", "relays[0].rate: a mapping"},
        {"relays: [{host: h, rate: {messages: 30}}]",
         "relays[0].rate.messages: \"30\" is not a rate such as 10/s, 30/m, 1000/h, 10000/d (DIR"},
        {"relays: [{host: h, rate: {recipients: [1/s, 0/m]}}]",
         "rate.recipients: \"0/m\" is not a rate"},
        {"relays: [{host: h, rate: {messages: [1/s, {}]}}]", "messages[1]: a string is wanted"},
        {"relays: [{host: h, proxy: [x]}]", "relays[0].proxy: a string is wanted"},
        {"routes: x", "routes: a list is wanted here (DIR/postern.yaml line 1)"},
        {"routes: [x]", "routes[0]: a mapping"},
        {"routes: [{match: x, relays: [r]}]", "routes[0].match: a mapping"},
        {"routes: [{match: {from: {a: b}}, relays: [r]}]", "match.from: a string is wanted"},
        {"relays: [{host: h, connections: {max_messages: 1.5}}]", "max_messages: a number from 0"},
        {"relays: [{host: h, tls_options: {verify: yes}}]", "verify: true or false is wanted"},
        {"relays: [{host: h, tls_options: {verify: 1}}]", "verify: true or false is wanted"},
        {"relays: [{host: h, on_in_doubt: drop}]", "\"drop\" is none of: retry, hold"},
        {"http: {max_body: 5 apples}", "http.max_body: \"5 apples\" is not a size such as"},
        {"http: {max_body: -1}", "http.max_body: \"-1\" is not a size"},
        {"drain: 25", "drain: \"25\" is not a duration such as"},
        {"drain: -25s", "drain: \"-25s\" is not a duration"},
        {"drain: true", "drain: a string is wanted"},
        {"queue: {retry: []}", "queue.retry: at least one duration"},
        {"queue: {retry: [30s, 0s]}", "queue.retry: \"0s\" is not a duration"},
        {"queue: {retry: [30s, {}]}", "queue.retry[1]: a string is wanted"},
        {"queue: {max_age: 0s}", "queue.max_age: must be more than 0"},
        {"relays: [{host: h, timeouts: {command: 0}}]", "timeouts.command: must be more than 0"},
        {"log: {level: loud}", "log.level: \"loud\" is none of: debug, info, warn, error"},
        {"log: {format: xml}", "log.format: \"xml\" is none of: logfmt, json"},
        {"sandbox: maybe", "sandbox: \"maybe\" is none of: auto, on, off"},
        {"api_keys: [{name: a, key: k, scopes: [send, write]}]",
         "\"write\" is none of: send, read"},
        {"api_keys: [{name: a, sha256: abc}]", "api_keys[0].sha256: 64 hexadecimal digits"},
        {"api_keys: {name: a}", "api_keys: a list is wanted"},
        {"hello", "a mapping of settings"},
        {"a: *x", "line 1: aliases"},
    };
    EXPECT(rows, NULL);
}

Test(config, several_faults_at_once)
{
    struct loaded l = load("lissen: x\n"
                           "http: {max_body: x}\n"
                           "relays:\n"
                           "  - {host: h, port: 0}\n"
                           "  - {host: h, tsl: x}\n"
                           "drain: x\n",
                           NULL);
    char *text = told(&l);
    cr_expect_eq(l.errors.n_total, 5, "%s", text);
    free(text);
    clear(&l);
    l = load("listen: '0.0.0.0:80'\n"
             "relays:\n"
             "  - {host: h, port: 26, tls: tls}\n"
             "  - {name: b, host: 'a b'}\n"
             "  - {name: b, host: h, tls: none, auth: {username: u, password: p}}\n",
             NULL);
    text = told(&l);
    cr_expect_eq(l.errors.n_total, 5, "%s", text);
    cr_expect_not_null(strstr(text, "line 1)"), "%s", text);
    cr_expect_not_null(strstr(text, "line 3)"), "%s", text);
    cr_expect_not_null(strstr(text, "line 4)"), "%s", text);
    cr_expect_not_null(strstr(text, "line 5)"), "%s", text);
    free(text);
    clear(&l);
}

Test(config, a_hundred_faults_are_counted)
{
    CLEANUP(buffer_clear) struct buffer yaml;
    buffer_init(&yaml, 1 << 16);
    for (int i = 0; i < 100; i++)
        buffer_printf(&yaml, "unknown%d: 1\n", i);
    buffer_append_char(&yaml, '\0');
    struct loaded l = load(yaml.data, NULL);
    cr_expect_eq(l.errors.n_total, 100);
    cr_expect_eq(l.errors.n_items, (size_t)ERROR_LIST_MAX);
    clear(&l);
}

Test(config, files_that_cannot_be_read)
{
    static const char *const environment[] = {NULL};
    char *text, *path;
    struct loaded l = {0};

    path = path_of("absent.yaml");
    cr_expect_lt(config_load(path, environment, &l.config, &l.errors), 0);
    text = told(&l);
    cr_expect(strncmp(text, path, strlen(path)) == 0 && strstr(text, "No such file") != NULL, "%s",
              text);
    free(text);
    clear(&l);
    free(path);

    l = (struct loaded){0};
    cr_expect_lt(config_load(dir, environment, &l.config, &l.errors), 0);
    text = told(&l);
    cr_expect_not_null(strstr(text, "directory"), "%s", text);
    free(text);
    clear(&l);

    char *large = malloc((1 << 20) + 2);
    memset(large, '#', (1 << 20) + 1);
    large[(1 << 20) + 1] = '\0';
    l = load(large, NULL);
    free(large);
    text = told(&l);
    cr_expect_not_null(strstr(text, "larger than"), "%s", text);
    free(text);
    clear(&l);
}

/* --- ${NAME} ------------------------------------------------------------------------------ */

Test(config, names_are_replaced_from_the_environment)
{
    static const char *const variables[] = {"A=alpha", "EMPTY=",   "TRICKY=${A}", "PORT=2525",
                                            "B1_=b",   "YES=true", "SIZE=5",      NULL};
    static const struct {
        const char *written, *domain; /* NULL: refused */
    } rows[] = {
        {"${A}", "alpha"},     {"x${A}y${A}z", "xalphayalphaz"},
        {"${B1_}", "b"},       {"x${EMPTY}y", "xy"},
        {"${TRICKY}", "${A}"}, /* once, and no more */
        {"$${A}", "${A}"},     {"$$${A}", "$${A}"},
        {"$A", "$A"},          {"a$", "a$"},
        {"$$", "$$"},          {"${A:-d}", "alpha"},
        {"${NONE:-d}", "d"},   {"${EMPTY:-d}", "d"},
        {"x${NONE:-}y", "xy"}, {"${NONE:-a:-b}", "a:-b"},
        {"${NONE}", NULL},     {"${a}", NULL},
        {"${}", NULL},         {"${A", NULL},
        {"${1A}", NULL},       {"${A B}", NULL},
        {"${A-d}", NULL},      {"${A:d}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "relays: [{host: h, auth: {domain: '%s'}}]", rows[i].written);
        struct loaded l = load(yaml, variables);
        if (rows[i].domain == NULL)
            cr_expect_null(l.config, "%s", rows[i].written);
        else
            cr_expect(l.config != NULL &&
                          strcmp(l.config->relays[0].auth.domain, rows[i].domain) == 0,
                      "%s: %s", rows[i].written,
                      l.config != NULL ? l.config->relays[0].auth.domain : "refused");
        clear(&l);
    }
    struct loaded l = load("relays: [{host: h, port: '${PORT}', tls_options: {verify: '${YES}'}}]\n"
                           "http: {max_body: '${SIZE}MiB'}\n"
                           "queue: {retry: ['${SIZE}m']}\n"
                           "log: {level: '${NONE:-debug}'}\n",
                           variables);
    cr_assert_not_null(l.config);
    cr_expect_eq(l.config->relays[0].port, 2525);
    cr_expect_eq(l.config->http.max_body, 5 << 20);
    cr_expect_eq(l.config->queue.retry_ms[0], 300000);
    cr_expect_eq(l.config->log_level, LOG_LEVEL_DEBUG);
    clear(&l);
}

Test(config, a_name_that_is_not_set_is_told_and_a_password_is_not)
{
    static const struct row rows[] = {
        {"relays:\n  - host: '${NONE}'\n",
         "relays[0].host: ${NONE} is not set in the environment (DIR/postern.yaml line 2)"},
        {"relays: [{host: h, auth: {username: u, password: 'a${s3cret'}}]",
         "auth.password: ${NAME} or ${NAME:-TEXT} is wanted; write $${"},
        {"relays: [{host: h, auth: {username: u, password: 'a${s3cret!}'}}]",
         "auth.password: ${NAME} or ${NAME:-TEXT} is wanted; write $${"},
    };
    EXPECT(rows, NULL);
    for (size_t i = 1; i < 3; i++) {
        struct loaded l = load(rows[i].yaml, NULL);
        char *text = told(&l);
        cr_expect_null(strstr(text, "s3cret"), "%s", text);
        free(text);
        clear(&l);
    }
}

/* --- the environment ---------------------------------------------------------------------- */

Test(config, one_relay_needs_no_file)
{
    static const struct {
        const char *url, *host;
        uint16_t port;
        enum config_tls tls;
        const char *user, *password;
    } rows[] = {
        {"smtps://u:p@h:465", "h", 465, CONFIG_TLS_IMPLICIT, "u", "p"},
        {"smtps://u:p@h", "h", 465, CONFIG_TLS_IMPLICIT, "u", "p"},
        {"smtps://u:p@h:2465", "h", 2465, CONFIG_TLS_IMPLICIT, "u", "p"},
        {"smtp://u:p@h:587", "h", 587, CONFIG_TLS_STARTTLS, "u", "p"},
        {"smtp://u:p@h", "h", 587, CONFIG_TLS_STARTTLS, "u", "p"},
        {"smtp://u:p@h:26", "h", 26, CONFIG_TLS_STARTTLS, "u", "p"},
        {"smtp+none://h:2525", "h", 2525, CONFIG_TLS_NONE, NULL, NULL},
        {"smtp+none://h", "h", 25, CONFIG_TLS_NONE, NULL, NULL},
        {"SMTPS://u:p@h/", "h", 465, CONFIG_TLS_IMPLICIT, "u", "p"},
        {"smtp://a%40b:p%3A%2F%3f%25@h", "h", 587, CONFIG_TLS_STARTTLS, "a@b", "p:/?%"},
        {"smtp://a@b:p@q@h", "h", 587, CONFIG_TLS_STARTTLS, "a@b", "p@q"},
        {"smtp://u:p:q@h", "h", 587, CONFIG_TLS_STARTTLS, "u", "p:q"},
        {"smtp://u:${HOME}$@h", "h", 587, CONFIG_TLS_STARTTLS, "u", "${HOME}$"},
        {"smtp://u:%24%7BHOME}@h", "h", 587, CONFIG_TLS_STARTTLS, "u", "${HOME}"},
        {"smtp://[::1]:587", "::1", 587, CONFIG_TLS_STARTTLS, NULL, NULL},
        {"smtps://[2001:db8::1]", "2001:db8::1", 465, CONFIG_TLS_IMPLICIT, NULL, NULL},
        {"smtp://u:p@h?auth=plain&hostname=gw.example.com", "h", 587, CONFIG_TLS_STARTTLS, "u",
         "p"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char variable[128];
        snprintf(variable, sizeof(variable), "POSTERN_RELAY=%s", rows[i].url);
        struct loaded l = load_env(NULL, variable, NULL);
        char *text = told(&l);
        cr_assert_not_null(l.config, "%s: %s", rows[i].url, text);
        cr_assert_eq(l.config->n_relays, 1);
        const struct config_relay *relay = &l.config->relays[0];
        cr_expect_str_eq(relay->host, rows[i].host, "%s", rows[i].url);
        cr_expect_eq(relay->port, rows[i].port, "%s", rows[i].url);
        cr_expect_eq(relay->tls, rows[i].tls, "%s", rows[i].url);
        cr_expect_eq(relay->auth.username == NULL, rows[i].user == NULL, "%s", rows[i].url);
        if (rows[i].user != NULL) {
            cr_expect_str_eq(relay->auth.username, rows[i].user, "%s", rows[i].url);
            cr_expect_str_eq(relay->auth.password, rows[i].password, "%s", rows[i].url);
        }
        free(text);
        clear(&l);
    }
    struct loaded l = load_env(NULL, "POSTERN_RELAY=smtp://u:p@h?auth=plain&hostname=gw%2Ex", NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->relays[0].auth.mechanism, "plain");
    cr_expect_str_eq(l.config->relays[0].hostname, "gw.x");
    clear(&l);
}

Test(config, relay_urls_that_are_none_are_not_repeated)
{
    static const char *const urls[] = {
        "h",
        "h:587",
        "http://u:s3cret@h",
        "smtp:u:s3cret@h",
        "smtp://",
        "smtp://u:s3cret@",
        "smtp://u:s3cret@h:",
        "smtp://u:s3cret@h:x",
        "smtp://u:s3cret@h:99999",
        "smtp://u:s3cret@h:0",
        "smtp://u:s3cret@h:587587",
        "smtp://u:s3cret@h:587/path",
        "smtp://u:12/s3cret@h", /* a / that was not encoded: no host "u" with port 12 */
        "smtp://u:12?s3cret@h",
        "smtp://u:s3cret%@h",
        "smtp://u:s3cret%4@h",
        "smtp://u:s3cret%zz@h",
        "smtp://u:s3cret%00@h",
        "smtp://u:s3cret%ff@h",
        "smtp://u:s3cret@[::1",
        "smtp://u:s3cret@[::1]x",
        "smtp://:s3cret@h",
        "smtp://u:@h",
        "smtp://u@h",
        "smtp://u:s3cret@h?tls=none",
        "smtp://u:s3cret@h?auth=%zz",
        "smtp://u:s3cret@h?auth=gssapi",
        "smtp://u:s3cret@a%20b",
        "smtp://u:s3cret@a%0d%0ab",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        char variable[128];
        snprintf(variable, sizeof(variable), "POSTERN_RELAY=%s", urls[i]);
        struct loaded l = load_env(NULL, variable, NULL);
        char *text = told(&l);
        cr_expect_null(l.config, "%s", urls[i]);
        cr_expect_null(strstr(text, "s3cret"), "%s: %s", urls[i], text);
        free(text);
        clear(&l);
    }
}

Test(config, environment_over_file_over_default)
{
    static const char yaml[] = "listen: 127.0.0.1:1\n"
                               "queue: {store: 'sqlite:a.db', max_age: 1h}\n"
                               "log: {level: warn, format: json}\n"
                               "api_keys: [{name: a, key: file-key}]\n"
                               "relays: [{name: x, host: fromfile, auth: {username: u, password: "
                               "p}}, {name: y, host: second}]\n";
    struct loaded l = load(yaml, NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->listen.items[0], "127.0.0.1:1");
    cr_expect_eq(l.config->log_level, LOG_LEVEL_WARN);
    cr_expect_eq(l.config->drain_ms, 25000);
    clear(&l);

    const char *const variables[] = {"POSTERN_LISTEN=127.0.0.1:2, [::1]:3",
                                     "POSTERN_STORE=sqlite:b.db",
                                     "POSTERN_LOG_LEVEL=error",
                                     "POSTERN_LOG_FORMAT=logfmt",
                                     "POSTERN_API_KEY=env-key",
                                     "POSTERN_RELAY=smtp://v:q@fromenv",
                                     NULL};
    l = load(yaml, variables);
    cr_assert_not_null(l.config);
    cr_expect_eq(l.config->listen.n_items, 2);
    cr_expect_str_eq(l.config->listen.items[0], "127.0.0.1:2");
    cr_expect_str_eq(l.config->listen.items[1], "[::1]:3");
    cr_expect_str_eq(l.config->queue.store, "sqlite:b.db");
    cr_expect_eq(l.config->queue.max_age_ms, 3600000); /* beside it in the file */
    cr_expect_eq(l.config->log_level, LOG_LEVEL_ERROR);
    cr_expect_eq(l.config->log_format, LOG_FORMAT_LOGFMT);
    cr_expect_eq(l.config->n_relays, 1);
    cr_expect_str_eq(l.config->relays[0].host, "fromenv");
    cr_expect_eq(l.config->n_api_keys, 1);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)"env-key", 7, digest);
    cr_expect_arr_eq(l.config->api_keys[0].sha256, digest, sizeof(digest));
    cr_expect_eq(l.config->api_keys[0].scopes, SCOPE_SEND | SCOPE_READ | SCOPE_ADMIN);
    clear(&l);

    const char *const empty[] = {
        "POSTERN_LISTEN=", "POSTERN_STORE=",   "POSTERN_LOG_LEVEL=", "POSTERN_LOG_FORMAT=",
        "POSTERN_RELAY=",  "POSTERN_API_KEY=", "POSTERN_CONFIG=",    NULL};
    l = load(yaml, empty);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->queue.store, "sqlite:a.db");
    cr_expect_eq(l.config->n_relays, 2);
    cr_expect_str_eq(l.config->api_keys[0].name, "a");
    clear(&l);
}

Test(config, faults_of_the_environment)
{
    static const struct {
        const char *a, *b, *why;
    } rows[] = {
        {"POSTERN_LOG_LEVEL=loud", NULL, "log.level: \"loud\" is none of"},
        {"POSTERN_LOG_FORMAT=xml", NULL, "log.format: "},
        {"POSTERN_STORE=redis:x", NULL, "queue.store: "},
        {"POSTERN_LISTEN= , ", NULL, "listen: at least one"},
        {"POSTERN_LISTEN=8080", NULL, "listen: 8080 is none of"},
        {"POSTERN_LISTEN=0.0.0.0:80", NULL, "POSTERN_API_KEY"},
        {"POSTERN_RELAY_PASSWORD=p", NULL, "POSTERN_RELAY_PASSWORD: there is no relay"},
        {"POSTERN_RELAY=smtp://h", "POSTERN_RELAY_PASSWORD=p", "auth: username is missing"},
        {"POSTERN_RELAY=smtp://u@h", "POSTERN_RELAY_PASSWORD=p\xff", "is not UTF-8"},
        {"POSTERN_API_KEY=k", "POSTERN_API_KEY_FILE=DIR/k",
         "POSTERN_API_KEY_FILE: POSTERN_API_KEY"},
        {"POSTERN_API_KEY_FILE=DIR/absent", NULL, "No such file"},
        {"POSTERN_CONFIG=DIR/absent", NULL, "absent: No such file"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loaded l = load_env(NULL, rows[i].a, rows[i].b);
        char *text = told(&l);
        cr_expect(l.config == NULL && strstr(text, rows[i].why) != NULL, "%s: %s", rows[i].a, text);
        free(text);
        clear(&l);
    }
}

/* --- secrets ------------------------------------------------------------------------------ */

Test(config, secrets_from_files)
{
    static const char yaml[] =
        "relays: [{host: h, auth: {username: u, password_file: DIR/secret}}]";
    char large[4098];
    memset(large, 'x', sizeof(large));
    const struct {
        const char *content;
        size_t len;
        const char *secret; /* NULL: refused */
        const char *why;
    } rows[] = {
        {"s3cret", 6, "s3cret", NULL},
        {"s3cret\n", 7, "s3cret", NULL},
        {"s3cret\r\n", 8, "s3cret", NULL},
        {" s3 cret \n", 10, " s3 cret ", NULL}, /* spaces are its own */
        {"${HOME}", 7, "${HOME}", NULL},        /* as it stands */
        {"s\xff", 2, "s\xff", NULL},
        {large, 4096, NULL, NULL}, /* filled in below */
        {"", 0, NULL, "is empty"},
        {"\n\n", 2, NULL, "is empty"},
        {"\xef\xbb\xbfs3cret\r\n", 11, "s3cret", NULL}, /* as Windows' editors save it */
        {"\xef\xbb\xbf", 3, NULL, "is empty"},
        {"\xff\xfes\0", 4, NULL, "is UTF-16: save it as UTF-8"},
        {"\xfe\xff\0s", 4, NULL, "is UTF-16"},
        {"\xff\xfe", 2, "\xff\xfe", NULL},
        {"one\ntwo\n", 8, NULL, "more than one line"},
        {"a\0b", 3, NULL, "more than one line"},
        {large, 4097, NULL, "larger than"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put("secret", rows[i].content, rows[i].len);
        struct loaded l = load(yaml, NULL);
        char *text = told(&l);
        if (rows[i].why != NULL)
            cr_expect(l.config == NULL && strstr(text, rows[i].why) != NULL, "%zu: %s", i, text);
        else if (rows[i].secret != NULL)
            cr_expect(l.config != NULL &&
                          strcmp(l.config->relays[0].auth.password, rows[i].secret) == 0,
                      "%zu: %s", i, text);
        else
            cr_expect(l.config != NULL && strlen(l.config->relays[0].auth.password) == 4096, "%s",
                      text);
        free(text);
        clear(&l);
    }
}

/* From wherever it comes: what wrote it there had it from a file. */
Test(config, a_line_end_is_no_part_of_a_secret)
{
    static const struct {
        const char *yaml, *variable;
        const char *is; /* NULL: refused */
        const char *why;
    } rows[] = {
#define HERE "relays: [{host: h, auth: {username: u, password: "
        {HERE "p}}]", "POSTERN_RELAY_PASSWORD=s3cret\n", "s3cret", NULL},
        {HERE "p}}]", "POSTERN_RELAY_PASSWORD=s3cret\r\n\n", "s3cret", NULL},
        {HERE "p}}]", "POSTERN_RELAY_PASSWORD= s3 cret ", " s3 cret ", NULL},
        {HERE "p}}]", "POSTERN_RELAY_PASSWORD=\xef\xbb\xbfs3cret", "s3cret", NULL},
        {HERE "p}}]", "POSTERN_RELAY_PASSWORD=one\ntwo\n", NULL,
         "POSTERN_RELAY_PASSWORD: POSTERN_RELAY_PASSWORD holds more than one line"},
        {HERE "p}}]", "POSTERN_RELAY_PASSWORD=\n", NULL, "POSTERN_RELAY_PASSWORD is empty"},
        {HERE "'${SMTP_PASSWORD}'}}]", "SMTP_PASSWORD=s3cret\n", "s3cret", NULL},
        {HERE "'a${SMTP_PASSWORD}b'}}]", "SMTP_PASSWORD=s3cret\r\n", "as3cretb", NULL},
        {HERE "'${SMTP_PASSWORD}'}}]", "SMTP_PASSWORD=one\ntwo", NULL,
         "relays[0].auth.password: it holds more than one line"},
        {HERE "'${SMTP_PASSWORD:-s3cret}'}}]", "SMTP_PASSWORD=\n", "s3cret", NULL},
        {"relays:\n  - host: h\n    auth:\n      username: u\n      password: |\n        s3cret\n",
         "X=", "s3cret", NULL},
        {HERE "\"s3cret\\n\"}}]", "X=", "s3cret", NULL},
        {HERE "\"s3\\ncret\"}}]", "X=", NULL, "more than one line"},
        {"{}", "POSTERN_RELAY=smtps://u:s3cret@h:465\n", "s3cret", NULL},
#undef HERE
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loaded l = load_env(rows[i].yaml, rows[i].variable, NULL);
        char *text = told(&l);
        if (rows[i].why != NULL)
            cr_expect(l.config == NULL && strstr(text, rows[i].why) != NULL, "%zu: %s", i, text);
        else
            cr_expect(l.config != NULL &&
                          strcmp(l.config->relays[0].auth.password, rows[i].is) == 0,
                      "%zu: %s", i, text);
        free(text);
        clear(&l);
    }
}

Test(config, line_ends_of_the_other_secrets_of_the_environment)
{
    uint8_t digest[32];
    SHA256((const unsigned char *)"k3y", 3, digest);
    struct loaded l = load_env(
        NULL, "POSTERN_API_KEY=k3y\r\n",
        "POSTERN_SECRET_KEY=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
    char *text = told(&l);
    cr_assert_not_null(l.config, "%s", text);
    cr_expect_str_eq(l.config->api_keys[0].key, "k3y");
    cr_expect_arr_eq(l.config->api_keys[0].sha256, digest, sizeof(digest));
    cr_expect_eq(strlen(l.config->secret_key), 64);
    free(text);
    clear(&l);
    l = load_env(NULL, "POSTERN_API_KEY=k3y\nmore", "POSTERN_SECRET_KEY=a\nb");
    text = told(&l);
    cr_expect_not_null(strstr(text, "POSTERN_API_KEY holds more than one line"), "%s", text);
    cr_expect_not_null(strstr(text, "POSTERN_SECRET_KEY holds more than one line"), "%s", text);
    cr_expect_null(strstr(text, "k3y"), "%s", text);
    free(text);
    clear(&l);
}

/* As compose files write variables that are not set. */
Test(config, an_empty_login_is_none)
{
    static const struct {
        const char *auth, *user; /* NULL: no login; "": refused */
    } rows[] = {
        {"username: '', password: ''", NULL},
        {"username: ''", NULL},
        {"password: ''", NULL},
        {"username: '${NOBODY:-}', password: '${NONE:-}'", NULL},
        {"username: u, password: ''", ""},
        {"username: '', password: p", ""},
        {"username: u, password: p", "u"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[256];
        snprintf(yaml, sizeof(yaml), "relays: [{host: h, auth: {%s}}]", rows[i].auth);
        struct loaded l = load(yaml, NULL);
        char *text = told(&l);
        const char *user = rows[i].user;
        if (user != NULL && user[0] == '\0')
            cr_expect_null(l.config, "%s", rows[i].auth);
        else if (user == NULL)
            cr_expect(l.config != NULL && l.config->relays[0].auth.username == NULL, "%s: %s",
                      rows[i].auth, text);
        else
            cr_expect(l.config != NULL && strcmp(l.config->relays[0].auth.username, user) == 0,
                      "%s: %s", rows[i].auth, text);
        free(text);
        clear(&l);
    }
}

Test(config, hosts_as_people_write_them)
{
    static const struct row rows[] = {
        {"relays: [{host: 'smtp.example.com:587'}]",
         "relays[0].host: the port stands apart: write host: smtp.example.com, port: 587"},
        {"relays: [{host: 'smtps://smtp.example.com'}]",
         "relays[0].host: a URL is none: write host: smtp.example.com, tls: implicit"},
        {"relays: [{host: '[::1]'}]", NULL},
        {"relays: [{host: '[::1]:25'}]", "write host: [::1], port: 25"},
        {"relays: [{host: büro.example.com, tls_options: {server_name: büro.example.com}}]", NULL},
        {"relays: [{host: h, tls_options: {server_name: 'h:1'}}]",
         "relays[0].tls_options.server_name: the port stands apart"},
        {"relays: [{host: a.example.com.}]", NULL},
    };
    EXPECT(rows, NULL);
    struct loaded l = load("relays: [{host: büro.example.com., proxy: 'http://bücher.example:1'}, "
                           "{name: b, host: '[2001:db8::1]'}]",
                           NULL);
    char *text = told(&l);
    cr_assert_not_null(l.config, "%s", text);
    cr_expect_str_eq(l.config->relays[0].host, "xn--bro-hoa.example.com.");
    cr_expect_str_eq(l.config->relays[0].proxy.host, "xn--bcher-kva.example");
    cr_expect_str_eq(l.config->relays[1].host, "2001:db8::1");
    free(text);
    clear(&l);
}

Test(config, names_of_other_clients_are_near)
{
    static const struct row rows[] = {
        {"relays: [{host: h, auth: {user: u, pass: p}}]",
         "relays[0].auth.user: is not a setting; did you mean auth.username?"},
        {"relays: [{host: h, auth: {pass: p}}]", "did you mean auth.password?"},
        {"relays: [{host: h, user: u}]", "did you mean auth.username?"},
        {"relays: [{host: h, username: u}]", "did you mean auth.username?"},
        {"relays: [{host: h, auth: {login: u}}]", "did you mean auth.username?"},
        {"relays: [{host: h, auth: {email: u}}]", "did you mean auth.username?"},
        {"relays: [{host: h, ssl: true}]", "did you mean tls?"},
        {"relays: [{host: h, security: ssl}]", "did you mean tls?"},
        {"relays: [{host: h, encryption: tls}]", "did you mean tls?"},
        {"relays: [{host: h, requireTLS: true}]", "did you mean tls?"},
        {"relays: [{host: h, SMTPSecure: tls}]", "did you mean tls?"},
        {"relays: [{server: h}]", "did you mean host?"},
        {"relays: [{smtp_host: h}]", "did you mean host?"},
        {"relays: [{EMAIL_HOST: h}]", "did you mean host?"},
        {"relays: [{host: h, ca_file: f}]", "did you mean tls_options.ca_file?"},
        {"relays: [{host: h, tls_options: {rejectUnauthorized: false}}]",
         "did you mean tls_options.verify?"},
        {"relays: [{host: h, tls_options: {servername: x}}]",
         "did you mean tls_options.server_name?"},
        {"relays: [{host: h, tls_options: {cert: x}}]", "did you mean tls_options.certificate?"},
        {"relays: [{host: h, maxConnections: 5}]", "did you mean connections.max?"},
        {"relays: [{host: h, auth: {mech: plain}}]", "did you mean auth.mechanism?"},
        {"loglevel: debug", "did you mean log.level?"},
        {"log: {lev: debug}", "did you mean log.level?"},
        {"api_keys: [{name: a, token: x}]",
         "api_keys[0].token: is not a setting; did you mean key?"},
        {"oauth: [{name: a, clientId: x}]", "did you mean client_id?"},
        {"oauth: [{name: a, scopes: x}]", "did you mean scope?"},
        {"relays: [{host: h, x: 1}]", "relays[0].x: is not a setting (DIR"},
        {"relays: [{host: h, colour: red}]", "relays[0].colour: is not a setting (DIR"},
    };
    EXPECT(rows, NULL);
}

Test(config, secret_files_that_cannot_be_read)
{
    static const struct row rows[] = {
        {"relays:\n  - host: h\n    auth: {username: u, password_file: DIR/absent}\n",
         "relays[0].auth.password_file: DIR/absent: No such file or directory (DIR/postern.yaml "
         "line 3)"},
        {"relays: [{host: h, auth: {username: u, password_file: DIR}}]", "DIR: Is a directory"},
        {"relays: [{host: h, auth: {username: u, password_file: ''}}]", "No such file"},
        {"relays: [{host: h, auth: {username: u, password_file: [x]}}]", "a string is wanted"},
        {"relays: [{host: h, auth: {username: u, password_file: '${NONE}'}}]", "is not set"},
        {"api_keys: [{name: a, key_file: DIR/absent}]", "api_keys[0].key_file: DIR/absent: No"},
    };
    EXPECT(rows, NULL);
}

Test(config, one_of_two_twins)
{
    put_str("secret", "from-file\n");
    put_str("other", "from-other\n");
    static const struct row both[] = {
        {"relays: [{host: h, auth: {username: u, password: p, password_file: DIR/secret}}]",
         "relays[0].auth.password_file: auth.password and auth.password_file are both given"},
        {"relays: [{host: h, auth: {username: u, password_file: DIR/secret, password: p}}]",
         "relays[0].auth.password: auth.password and auth.password_file are both given"},
        {"relays: [{host: h, auth: {username: u, password: null, password_file: DIR/secret}}]",
         NULL},
        {"api_keys: [{name: a, key: k, key_file: DIR/secret}]", "key and key_file are both given"},
        {"api_keys: [{name: a, key: k, sha256: "
         "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b}]",
         "api_keys[0]: key and sha256 are both given"},
    };
    EXPECT(both, NULL);
    static const struct {
        const char *yaml, *variable, *password;
    } rows[] = {
        {"password: p", "POSTERN_RELAY_PASSWORD=e", "e"},
        {"password_file: DIR/secret", "POSTERN_RELAY_PASSWORD=e", "e"},
        {"password_file: DIR/absent", "POSTERN_RELAY_PASSWORD=e", "e"},
        {"password: p", "POSTERN_RELAY_PASSWORD_FILE=DIR/other", "from-other"},
        {"password_file: DIR/secret", "POSTERN_RELAY_PASSWORD_FILE=DIR/other", "from-other"},
        {"password_file: DIR/secret", "POSTERN_RELAY_PASSWORD=", "from-file"},
        {"password: null", "POSTERN_RELAY_PASSWORD=${A} $", "${A} $"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "relays: [{host: h, auth: {username: u, %s}}]", rows[i].yaml);
        struct loaded l = load_env(yaml, rows[i].variable, NULL);
        char *text = told(&l);
        cr_assert_not_null(l.config, "%s", text);
        cr_expect_str_eq(l.config->relays[0].auth.password, rows[i].password);
        free(text);
        clear(&l);
    }
}

Test(config, passwords_that_look_like_something_else)
{
    static const char *const words[] = {"12345", "007", "1e5", "0x1F", "-0", "+5", "1.50", "yes"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "relays: [{host: h, auth: {username: u, password: %s}}]",
                 words[i]);
        struct loaded l = load(yaml, NULL);
        cr_assert_not_null(l.config, "%s", words[i]);
        cr_expect_str_eq(l.config->relays[0].auth.password, words[i]);
        clear(&l);
    }
    struct loaded l = load("relays: [{host: h, auth: {username: u, password: true}}]", NULL);
    cr_expect_null(l.config);
    clear(&l);
}

/* --- the TLS words: contract section 3 ---------------------------------------------------- */

enum { REFUSED = -1 };

Test(config, tls_words_by_port)
{
    enum {
        I = CONFIG_TLS_IMPLICIT,
        S = CONFIG_TLS_STARTTLS,
        N = CONFIG_TLS_NONE,
        A = CONFIG_TLS_AUTO,
        R = REFUSED
    };
    static const int ports[] = {0, 465, 587, 2525, 2500, 25, 26};
    static const struct {
        const char *said;
        int tls[7];      /* one for each port */
        uint16_t silent; /* the port meant where none is given */
    } rows[] = {
        {"", {S, I, S, S, S, S, A}, 587},
        {"tls: auto", {S, I, S, S, S, S, A}, 587},
        {"tls: implicit", {I, I, I, I, I, I, I}, 465},
        {"tls: ssl", {I, I, I, I, I, I, I}, 465},
        {"tls: smtps", {I, I, I, I, I, I, I}, 465},
        {"tls: SSL", {I, I, I, I, I, I, I}, 465},
        {"secure: true", {I, I, I, I, I, I, I}, 465},
        {"tls: starttls", {S, S, S, S, S, S, S}, 587},
        {"tls: STARTTLS", {S, S, S, S, S, S, S}, 587},
        {"secure: false", {S, R, S, R, R, R, R}, 587},
        {"tls: none", {N, N, N, N, N, N, N}, 587},
        {"tls: plain", {N, N, N, N, N, N, N}, 587},
        {"tls: tls", {S, I, S, R, R, R, R}, 587},
        {"tls: auto, secure: true", {I, I, I, I, I, I, I}, 465},
        {"tls: auto, secure: false", {S, R, S, R, R, R, R}, 587},
        {"tls: implicit, secure: true", {I, I, I, I, I, I, I}, 465},
        {"tls: implicit, secure: false", {R, R, R, R, R, R, R}, 465},
        {"tls: starttls, secure: true", {R, R, R, R, R, R, R}, 587},
        {"tls: starttls, secure: false", {S, S, S, S, S, S, S}, 587},
        {"tls: none, secure: true", {R, R, R, R, R, R, R}, 587},
        {"tls: none, secure: false", {N, N, N, N, N, N, N}, 587},
        {"tls: tls, secure: true", {I, I, R, R, R, R, R}, 465},
        {"tls: tls, secure: false", {S, R, S, R, R, R, R}, 587},
        {"tls: ''", {R, R, R, R, R, R, R}, 0},
        {"tls: tlsv1.2", {R, R, R, R, R, R, R}, 0},
        {"tls: opportunistic", {R, R, R, R, R, R, R}, 0},
        {"tls: false", {R, R, R, R, R, R, R}, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t k = 0; k < sizeof(ports) / sizeof(ports[0]); k++) {
            char yaml[128], port[16] = "";
            if (ports[k] != 0)
                snprintf(port, sizeof(port), "port: %d, ", ports[k]);
            snprintf(yaml, sizeof(yaml), "relays: [{%shost: h%s%s}]", port,
                     rows[i].said[0] != '\0' ? ", " : "", rows[i].said);
            struct loaded l = load(yaml, NULL);
            char *text = told(&l);
            int tls = l.config != NULL ? (int)l.config->relays[0].tls : REFUSED;
            cr_expect_eq(tls, rows[i].tls[k], "%s: %d %s", yaml, tls, text);
            if (l.config != NULL && ports[k] == 0)
                cr_expect_eq(l.config->relays[0].port, rows[i].silent, "%s", yaml);
            free(text);
            clear(&l);
        }
    static const struct row told_rows[] = {
        {"relays: [{host: h, port: 2525, tls: tls}]",
         "TLS from the first byte to some and STARTTLS to others: write implicit (as on port 465) "
         "or starttls (as on port 587)"},
        {"relays: [{host: h, tls: opportunistic}]", "relays[0].tls: \"opportunistic\" is none of: "
                                                    "implicit, starttls, none, auto"},
    };
    EXPECT(told_rows, NULL);
}

/* --- refusals: contract section 2 --------------------------------------------------------- */

Test(config, what_is_refused_at_start_and_how_it_is_allowed)
{
#define LOGIN "auth: {username: u, password: p}"
    static const struct row rows[] = {
        {"listen: 127.0.0.1:80", NULL},
        {"listen: '[::1]:80'", NULL},
        {"listen: localhost:80", NULL},
        {"listen: unix:/tmp/x", NULL},
        {"listen: 127.1.2.3:80", NULL},
        {"listen: 0.0.0.0:80", "listen: others can reach 0.0.0.0:80: set an API key"},
        {"listen: ':80'", "others can reach"},
        {"listen: '[::]:80'", "others can reach"},
        {"listen: 10.0.0.1:80", "others can reach"},
        {"listen: '127.0.0.1.example.com:80'", "others can reach"},
        {"listen: 'localhost.example.com:80'", "others can reach"},
        {"listen: ['127.0.0.1:80', '0.0.0.0:81']", "others can reach 0.0.0.0:81"},
        {"listen: 0.0.0.0:80\nallow_anonymous: true", NULL},
        {"listen: 0.0.0.0:80\napi_keys: [{name: a, key: k}]", NULL},
        {"listen: 0.0.0.0:80\napi_keys: []", "others can reach"},

        {"relays: [{host: h, port: 25, " LOGIN "}]", "relays[0]: port 25 is for traffic between"},
        {"relays: [{host: h, port: 25, allow_port_25: true, " LOGIN "}]", NULL},
        {"relays: [{host: h, port: 25}]", NULL},
        {"relays: [{host: h, port: 25, auth: {mechanism: none, username: u}}]", NULL},

        {"relays: [{host: h, tls: none, " LOGIN "}]",
         "would go out in the clear: set tls: starttls"},
        {"relays: [{host: 10.0.0.1, tls: plain, " LOGIN "}]", "would go out in the clear"},
        {"relays: [{host: 127.0.0.1.example.com, tls: plain, " LOGIN "}]", "in the clear"},
        {"relays: [{host: h, tls: none, allow_plaintext_auth: true, " LOGIN "}]", NULL},
        {"relays: [{host: 127.0.0.1, tls: none, " LOGIN "}]", NULL},
        {"relays: [{host: '::1', tls: none, " LOGIN "}]", NULL},
        {"relays: [{host: localhost, tls: none, " LOGIN "}]", NULL},
        {"relays: [{host: h, tls: none}]", NULL},
        {"relays: [{host: h, tls: none, port: 25, " LOGIN "}]", "port 25 is for traffic"},

        {"relays: [{name: a, host: h}, {name: b, host: h}]", NULL},
        {"relays: [{name: a, host: h}, {name: a, host: i}]",
         "relays[1]: two relays are named \"a\""},
        {"relays: [{host: h}, {host: i}]", "relays[1]: two relays are named \"default\""},

        {"relays: [{name: a}]", "relays[0]: host is missing"},
        {"relays: [{host: ''}]", "relays[0]: host is missing"},
        {"relays: [{host: h, name: ''}]", "name is empty"},
        {"relays: [{host: \"a\\r\\nb\"}]", "relays[0].host: \"a  b\" is no host name"},
        {"relays: [{host: h, hostname: \"a\\nb\"}]", "no name to say in EHLO"},
        {"relays: [{host: h, hostname: a_b.example.com}]", "no name to say in EHLO"},
        {"relays: [{host: h, hostname: 192.0.2.300}]", "no name to say in EHLO"},
        {"relays: [{host: h, hostname: \"[gw.example.com]\"}]", "no name to say in EHLO"},
        {"relays: [{host: h, hostname: gw..example.com}]", "no name to say in EHLO"},
        {"relays: [{host: h, hostname: \"\"}]", "no name to say in EHLO"},
        {"relays: [{host: h, without: [chunkin]}]", "did you mean chunking"},
        {"relays: [{host: h, without: starttls}]",
         "none of: chunking, pipelining, smtputf8, 8bitmime, dsn, size"},
        {"relays: [{host: h, auth: {username: u}}]", "password, or password_file, is missing"},
        {"relays: [{host: h, auth: {password: p}}]", "username is missing"},
        {"relays: [{host: h, auth: {username: u, password: ''}}]", "password, or password_file"},
        {"relays: [{host: h, auth: {mechanism: scram-sha-1, username: u, password: p}}]", NULL},
        {"relays: [{host: h, auth: {mechanism: SCRAM-SHA-256-PLUS, username: u, password: p}}]",
         NULL},
        {"relays: [{host: h, auth: {mechanism: scram, username: u, password: p}}]",
         "relays[0].auth: mechanism: write auto, plain"},
        {"relays: [{host: h, auth: {mechanism: ntlm, username: u}}]", "password_file, is missing"},
        {"relays: [{host: h, auth: {mechanism: cram-md5}}]", "username is missing"},
        {"relays: [{host: h, auth: {mechanism: xoauth2, username: u, password: p}}]",
         "log in by a token: set oauth to the name"},
        {"relays: [{host: h, auth: {mechanism: gssapi}}]", NULL},
        {"relays: [{host: h, tls: none, auth: {mechanism: gssapi, username: u}}]", NULL},
        {"relays: [{host: h, port: 25, auth: {mechanism: gssapi}}]", "port 25 is for traffic"},
        {"relays: [{host: h, auth: {mechanism: gssapi, username: u, password: p}}]",
         "leave password out"},
        {"relays: [{host: h, auth: {mechanism: external}}]", "set tls_options.certificate"},
        {"relays: [{host: h, tls: none, auth: {mechanism: external}}]", "set tls: starttls"},
        {"relays: [{host: h, auth: {mechanism: external, password: p}}]", "leave password out"},
        {"relays: [{host: h, tls_options: {certificate: DIR/both.pem}, auth: {mechanism: "
         "external}}]",
         NULL},
        {"relays: [{host: h, tls_options: {min_version: '1.1'}}]", "min_version: write \"1.2\""},
        {"relays: [{host: h, tls_options: {ca_file: DIR/absent}}]", "ca_file DIR/absent: No such"},
        {"relays: [{host: h, tls_options: {key: DIR/both.pem}}]", "but no certificate"},

        {"api_keys: [{key: k}]", "api_keys[0]: name is missing"},
        {"api_keys: [{name: a}]", "api_keys[0]: sha256, key or key_file is missing"},
        {"api_keys: [{name: a, key: ''}]", "key is empty"},
        {"api_keys: [{name: a, key: k, scopes: []}]", "scopes is empty"},

        {"listen: []", "listen: at least one address"},
        {"listen: 127.0.0.1", "listen: 127.0.0.1 is none of host:port, [::1]:port, unix:/path"},
        {"listen: 127.0.0.1:99999", "is none of host:port"},
        {"listen: 'unix:'", "is none of host:port"},
        {"queue: {store: 'sqlite:'}", "queue.store: write sqlite:PATH or memory:"},
        {"queue: {store: /var/x.db}", "queue.store: write sqlite:PATH or memory:"},
        {"queue: {store: 'postgres://u:s3cret@h/d'}", "queue.store: PostgreSQL is not supported"},
    };
#undef LOGIN
    EXPECT(rows, NULL);
}

/* Without a key only what nobody else can reach may be listened on. */
Test(config, who_can_reach_an_address)
{
    static const struct {
        const char *listen;
        bool local;
    } rows[] = {
        {"127.0.0.1:1", true}, {"127.255.0.1:1", true}, {"localhost:1", true},
        {"[::1]:1", true},     {"unix:/x", true},       {"128.0.0.1:1", false},
        {"0.0.0.0:1", false},  {":1", false},           {"[::]:1", false},
        {"h:1", false},        {"127.1:1", false},      {"0127.0.0.1:1", false},
        {"UNIX:/x", false},    {"::1:1", true},         {"[::ffff:127.0.0.1]:1", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "listen: '%s'\n", rows[i].listen);
        struct loaded l = load(yaml, NULL);
        cr_expect_eq(l.config != NULL, rows[i].local, "%s", rows[i].listen);
        clear(&l);
    }
}

Test(config, scopes_and_keys)
{
    struct loaded l = load("api_keys:\n"
                           "  - {name: a, key: k}\n"
                           "  - {name: b, key: 007, scopes: [read]}\n"
                           "  - {name: c, scopes: admin, sha256: "
                           "8254C329A92850F6D539DD376F4816EE2764517DA5E0235514AF433164480D7A}\n",
                           NULL);
    cr_assert_not_null(l.config);
    const struct config_api_key *keys = l.config->api_keys;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    cr_expect_eq(keys[0].scopes, SCOPE_SEND | SCOPE_READ);
    cr_expect_eq(keys[1].scopes, SCOPE_READ);
    cr_expect_eq(keys[2].scopes, SCOPE_SEND | SCOPE_READ | SCOPE_ADMIN);
    SHA256((const unsigned char *)"k", 1, digest);
    cr_expect_arr_eq(keys[0].sha256, digest, sizeof(digest));
    cr_expect_arr_eq(keys[2].sha256, digest, sizeof(digest));
    SHA256((const unsigned char *)"007", 3, digest);
    cr_expect_arr_eq(keys[1].sha256, digest, sizeof(digest));
    clear(&l);
}

/* --- routes ------------------------------------------------------------------------------- */

Test(config, routes)
{
    static const char yaml[] = "relays: [{name: a, host: h}, {name: b, host: h}]\n"
                               "api_keys: [{name: k, key: x, relay: b}]\n"
                               "routes:\n"
                               "  - {match: {from: '*@x.example', to: [a@y, '*@z'], tag: [t, u],\n"
                               "             api_key: k, priority: high}, relays: [b, a]}\n"
                               "  - {match: null, relays: a}\n";
    struct loaded l = load(yaml, NULL);
    char *text = told(&l);
    cr_assert_not_null(l.config, "%s", text);
    free(text);
    cr_assert_eq(l.config->n_routes, 2);
    const struct config_route *route = &l.config->routes[0];
    cr_assert_eq(route->match.to.n_items, 2);
    cr_expect_str_eq(route->match.from.items[0], "*@x.example");
    cr_expect_str_eq(route->match.to.items[1], "*@z");
    cr_expect_str_eq(route->match.tag.items[1], "u");
    cr_expect_str_eq(route->match.api_key.items[0], "k");
    cr_expect_str_eq(route->match.priority.items[0], "high");
    cr_assert_eq(route->relays.n_items, 2);
    cr_expect_str_eq(route->relays.items[0], "b");
    cr_expect_str_eq(route->relays.items[1], "a");
    cr_expect_eq(l.config->routes[1].match.from.n_items, 0);
    cr_expect_str_eq(l.config->routes[1].relays.items[0], "a");
    cr_expect_str_eq(l.config->api_keys[0].relay, "b");
    clear(&l);
}

Test(config, routes_that_lead_nowhere)
{
#define RELAYS "relays: [{name: primary, host: h}, {name: backup, host: h}]\n"
#define MATCH(text) RELAYS "routes: [{match: {" text "}, relays: [primary]}]"
    static const struct row rows[] = {
        {RELAYS "routes: [{relays: [primary]}, {relays: [primary, bakup]}]",
         "routes[1].relays: no relay is named \"bakup\"; did you mean backup? (DIR"},
        {RELAYS "routes: [{relays: other}]",
         "no relay is named \"other\": write the name of one in relays"},
        {RELAYS "routes: [{relays: [Primary]}]", "did you mean primary?"},
        {"routes: [{relays: [primary]}]", "no relay is named \"primary\""},
        {RELAYS "routes: [{match: {tag: t}}]",
         "routes[0].relays: a route leads to at least one relay: write relays: [NAME]"},
        {RELAYS "routes: [{relays: []}]", "at least one relay"},
        {RELAYS "routes: [{relays: [primary, backup, primary]}]",
         "\"primary\" is in it twice: leave one out"},
        {RELAYS "routes: [{relays: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]}]",
         "a route leads to at most 16 relays"},
        {MATCH("priority: urgent"),
         "routes[0].match.priority: \"urgent\" is none of: high, normal, low"},
        {MATCH("priority: [high, normal, low]"), NULL},
        {MATCH("priority: High"), "none of: high"},
        {MATCH("api_key: k"), "routes[0].match.api_key: no API key is named \"k\": write the name"},
        {MATCH("from: example.com"), "routes[0].match.from: \"example.com\" is no address: write "
                                     "name@example.com or *@example.com"},
        {MATCH("to: [a@b, '@b']"), "routes[0].match.to: \"@b\" is no address"},
        {MATCH("to: 'a@'"), "is no address"},
        {MATCH("to: 'a @b'"), "is no address"},
        {MATCH("to: '*.sales@b'"), "is no address"},
        {MATCH("to: 'a*@b'"), "is no address"},
        {MATCH("to: '*@*.b'"), "is no address"},
        {MATCH("to: '**'"), "is no address"},
        {MATCH("to: ['*', '*@b', 'a@b', '\"a@b\"@c']"), NULL},
        {RELAYS "api_keys: [{name: a, key: k, relay: backup}]", NULL},
        {RELAYS "api_keys: [{name: a, key: k, relay: bakcup}]",
         "api_keys[0].relay: no relay is named \"bakcup\"; did you mean backup?"},
    };
#undef MATCH
#undef RELAYS
    EXPECT(rows, NULL);
}

/* What `postern login PROVIDER` prints can be pasted. */
Test(config, every_provider_that_logs_in_is_taken)
{
    size_t n = 0;
    for (const struct provider_name *name = provider_names; name->word != NULL; name++, n++) {
        char yaml[512];
        snprintf(yaml, sizeof(yaml),
                 "oauth:\n  - name: %s\n    provider: %s\n    grant: refresh_token\n"
                 "    client_id: \"i\"\n"
                 "relays:\n  - name: %s\n    service: \"%s\"\n    auth:\n"
                 "      username: \"user@example.com\"\n      oauth: \"%s\"\n",
                 name->word, name->word, name->word, name->service, name->word);
        struct loaded l = load(yaml, NULL);
        char *why = told(&l);
        cr_expect(l.config != NULL && l.config->oauth[0].provider == name->id, "%s: %s", name->word,
                  why);
        if (l.config != NULL) {
            const struct provider *provider = provider_find(&l.config->oauth[0]);
            cr_expect(provider != NULL &&
                          strcmp(provider->mail_host, l.config->relays[0].host) == 0,
                      "%s: its service is %s", name->word, l.config->relays[0].host);
        }
        free(why);
        clear(&l);
    }
    cr_expect_eq(n, (size_t)CONFIG_OAUTH_AOL, "each but custom has a name");
}

/* --- oauth -------------------------------------------------------------------------------- */

Test(config, every_setting_of_oauth)
{
    put_str("secret", "s3cret-file\n");
    put_str("key.pem", "k"); /* Google's JSON is read when it is wanted */
    struct loaded l =
        load("oauth:\n"
             "  - {name: m365, provider: microsoft, grant: client_credentials,\n"
             "     tenant: t, cloud: china, client_id: i, client_secret_file: DIR/secret,\n"
             "     client_auth: post, key_id: k, device_url: 'https://d.example/',\n"
             "     authorize_url: 'https://a.example/', scope: 'a b',\n"
             "     ca_file: DIR/both.pem, proxy: 'http://u:s3cret@h:3128'}\n"
             "  - {name: app, grant: client_credentials, client_id: i,\n"
             "     token_url: 'https://[2001:db8::1]:8443/t?x=y',\n"
             "     private_key_file: DIR/both.pem, certificate_file: DIR/both.pem}\n"
             "  - {name: g, provider: google, grant: jwt_bearer,\n"
             "     service_account_file: DIR/key.pem, subject: sub@example.com}\n"
             "  - {name: f, grant: token_file, token_file: DIR/not-there-yet}\n"
             "  - {name: y, provider: yahoo, client_id: i, refresh_token: s3cret}\n"
             "relays:\n"
             "  - {name: a, host: h, auth: {oauth: g}}\n"
             "  - {name: b, host: h, auth: {oauth: f, username: u, mechanism: xoauth2}}\n"
             "  - {name: c, host: h, auth: {username: u, password: s3cret}}\n"
             "  - {name: d, host: h, auth: {oauth: m365, mechanism: none}}\n",
             NULL);
    char *why = told(&l);
    cr_assert_not_null(l.config, "%s", why);
    free(why);
    const struct config *c = l.config;
    cr_assert_eq(c->n_oauth, 5);
    cr_expect_eq(c->oauth[0].provider, CONFIG_OAUTH_MICROSOFT);
    cr_expect_eq(c->oauth[0].grant, CONFIG_OAUTH_CLIENT_CREDENTIALS);
    cr_expect_eq(c->oauth[0].client_auth, CONFIG_OAUTH_CLIENT_POST);
    cr_expect_str_eq(c->oauth[0].cloud, "china");
    cr_expect_str_eq(c->oauth[0].client_secret, "s3cret-file");
    cr_expect_not_null(strstr(c->oauth[0].client_secret_file, "/secret"));
    cr_expect_str_eq(c->oauth[0].scope, "a b");
    cr_expect_eq(c->oauth[1].provider, CONFIG_OAUTH_CUSTOM);
    cr_expect_eq(c->oauth[1].client_auth, CONFIG_OAUTH_CLIENT_BASIC);
    cr_expect_str_eq(c->oauth[1].cloud, "global");
    cr_expect_not_null(c->oauth[1].certificate_file);
    cr_expect_null(c->oauth[1].client_secret);
    cr_expect_eq(c->oauth[2].provider, CONFIG_OAUTH_GOOGLE);
    cr_expect_eq(c->oauth[2].grant, CONFIG_OAUTH_JWT_BEARER);
    cr_expect_not_null(c->oauth[2].service_account_file);
    cr_expect_eq(c->oauth[3].grant, CONFIG_OAUTH_TOKEN_FILE);
    cr_expect_not_null(c->oauth[3].token_file);
    cr_expect_eq(c->oauth[4].provider, CONFIG_OAUTH_YAHOO);
    cr_expect_eq(c->oauth[4].grant, CONFIG_OAUTH_REFRESH_TOKEN);
    cr_expect_str_eq(c->oauth[4].refresh_token, "s3cret");
    /* filled in by the provider */
    cr_expect_not_null(strstr(c->oauth[0].token_url, "/t/oauth2/"), "%s", c->oauth[0].token_url);
    cr_expect_str_eq(c->oauth[0].device_url, "https://d.example/");
    cr_expect_str_eq(c->oauth[2].token_url, "https://oauth2.googleapis.com/token");
    cr_expect_str_eq(c->oauth[2].scope, "https://mail.google.com/");
    cr_expect_eq(c->oauth[2].client_auth, CONFIG_OAUTH_CLIENT_POST);
    cr_expect_null(c->oauth[3].token_url);
    cr_expect_eq(c->relays[0].auth.oauth_index, 2);
    cr_expect_str_eq(c->relays[0].auth.username, "sub@example.com");
    cr_expect_eq(c->relays[1].auth.oauth_index, 3);
    cr_expect_str_eq(c->relays[1].auth.username, "u");
    cr_expect_eq(c->relays[2].auth.oauth_index, -1);
    cr_expect_null(c->relays[3].auth.username);
    char *text = printed(c);
    cr_expect_null(strstr(text, "s3cret"), "%s", text);
    cr_expect_not_null(strstr(text, "oauth:\n  - name: \"m365\"\n    provider: microsoft\n"
                                    "    grant: client_credentials\n"),
                       "%s", text);
    cr_expect_not_null(strstr(text, "    proxy: \"http://u:********@h:3128\"\n"), "%s", text);
    free(text);
    clear(&l);
}

Test(config, grants_without_what_they_need)
{
#define ENTRY(text) "oauth: [{name: a, " text "}]"
#define URL "token_url: 'https://h/t', "
    static const struct row rows[] = {
        {ENTRY(URL "client_id: i"), NULL},
        {ENTRY(URL "scope: s"), "oauth[0]: client_id is missing"},
        {ENTRY(URL "client_id: ''"), "oauth[0]: client_id is missing"},
        {ENTRY(URL "token_file: f"), "set grant: token_file"},
        {ENTRY(URL "service_account_file: DIR/postern.yaml"), "set grant: jwt_bearer"},
        {ENTRY(URL "grant: client_credentials, client_id: i"),
         "oauth[0]: client_secret, client_secret_file or private_key_file is missing"},
        {ENTRY(URL "grant: client_credentials, client_secret: s"), "client_id is missing"},
        {ENTRY(URL "grant: client_credentials, client_id: i, client_secret: s"), NULL},
        {ENTRY(URL "grant: client_credentials, client_id: i, private_key_file: DIR/both.pem"),
         NULL},
        {ENTRY("provider: microsoft, grant: client_credentials, client_id: i, client_secret: s"),
         "oauth[0]: tenant is missing: write the tenant's id"},
        {ENTRY("provider: microsoft, grant: client_credentials, client_id: i, client_secret: s, "
               "tenant: common"),
         "oauth[0]: tenant: an application belongs to one tenant"},
        {ENTRY("provider: microsoft, grant: client_credentials, client_id: i, client_secret: s, "
               "tenant: contoso.example"),
         NULL},
        {ENTRY("provider: microsoft, client_id: i"), NULL}, /* whoever logs in */
        {ENTRY("provider: google, grant: jwt_bearer"), "service_account_file (Google's JSON) or"},
        {ENTRY("provider: google, grant: jwt_bearer, service_account_file: DIR/postern.yaml"),
         NULL},
        {ENTRY(URL "grant: jwt_bearer, private_key_file: DIR/both.pem"),
         "client_id is missing: it is the issuer"},
        {ENTRY(URL "grant: jwt_bearer, private_key_file: DIR/both.pem, client_id: i"), NULL},
        {ENTRY("grant: token_file"), "oauth[0]: token_file is missing"},
        {ENTRY("grant: token_file, token_file: DIR/absent"), NULL},
        {ENTRY(URL "client_id: i, client_secret: s, private_key_file: DIR/both.pem"),
         "client_secret and private_key_file are both given"},
        {ENTRY(URL "client_id: i, certificate_file: DIR/both.pem"), "but no private_key_file"},
        {ENTRY(URL "client_id: i, private_key_file: DIR/absent"),
         "oauth[0].private_key_file: DIR/absent: No such file"},
        {ENTRY(URL "client_id: i, ca_file: DIR/absent"), "oauth[0].ca_file: DIR/absent: No such"},
        {ENTRY(URL "client_id: i, proxy: 'ftp://u:s3cret@h'"), "oauth[0].proxy: "},
        {ENTRY("provider: microsoft, client_id: i, cloud: usgov"),
         "oauth[0]: cloud: write global, us or china"},
        {ENTRY("provider: outlook, client_id: i"), "oauth[0].provider: \"outlook\" is none of"},
        {ENTRY("grant: password, client_id: i"), "oauth[0].grant: \"password\" is none of"},
        {ENTRY("client_id: i"), "oauth[0]: token_url is missing: write the provider's"},
        {"oauth: [{" URL "client_id: i}]", "oauth[0]: name is missing"},
        {"oauth: [{name: a, " URL "client_id: i}, {name: a, " URL "client_id: i}]",
         "oauth[1]: two entries are named \"a\""},
        {"oauth: {name: a}", "oauth: a list is wanted here"},
    };
#undef URL
#undef ENTRY
    EXPECT(rows, NULL);
}

Test(config, endpoints_of_oauth)
{
    static const struct {
        const char *url;
        bool good;
    } rows[] = {
        {"https://h/t", true},
        {"HTTPS://h:8443/t?a=b", true},
        {"https://[2001:db8::1]/t", true},
        {"http://127.0.0.1:8080/t", true},
        {"http://localhost/t", true},
        {"http://[::1]/t", true},
        {"http://[::1]:80/t", true},
        {"http://h/t", false},
        {"http://127.0.0.1.example.com/t", false},
        {"http://localhost@evil.example/t", false},
        {"https://u:s3cret@h/t", false},
        {"http://unix:/t", false},
        {"http://[::1/t", false},
        {"ftp://h/t", false},
        {"h/t", false},
        {"https://", false},
        {"https:///t", false},
        {"https://h/a b", false},
        {"https://h/\r\nX: y", false},
        {"https://h/#a", false},
        {"", false},
    };
    static const char *const names[] = {"token_url", "device_url", "authorize_url"};
    for (size_t i = 0; i < 3 * sizeof(rows) / sizeof(rows[0]); i++) {
        const char *name = names[i % 3], *url = rows[i / 3].url;
        json_t *tree = json_pack("{s:[{s:s, s:s, s:s, s:s}]}", "oauth", "name", "a", "client_id",
                                 "i", "provider", "google", name, url);
        char *yaml = json_dumps(tree, 0), where[64];
        struct loaded l = load(yaml, NULL);
        char *text = told(&l);
        snprintf(where, sizeof(where), "oauth[0].%s: write https://HOST/PATH", name);
        cr_expect_eq(l.config != NULL, rows[i / 3].good, "%s %s: %s", name, url, text);
        cr_expect_eq(strstr(text, where) != NULL, !rows[i / 3].good, "%s %s: %s", name, url, text);
        cr_expect_null(strstr(text, "s3cret"));
        free(text);
        free(yaml);
        json_decref(tree);
        clear(&l);
    }
}

Test(config, relays_that_log_in_by_token)
{
#define OAUTH                                                                                      \
    "oauth: [{name: m365, grant: token_file, token_file: f}, {name: g, token_url: 'https://h/', "  \
    "grant: jwt_bearer, client_id: i, private_key_file: DIR/both.pem, subject: s}]\n"
#define RELAY(text, auth) OAUTH "relays: [{host: h, " text "auth: {" auth "}}]"
    static const struct row rows[] = {
        {RELAY("", "username: u, oauth: m365"), NULL},
        {RELAY("", "username: u, oauth: m365, mechanism: oauthbearer"), NULL},
        {RELAY("", "username: u, oauth: m365, mechanism: XOAUTH2"), NULL},
        {RELAY("", "oauth: g"), NULL},
        {RELAY("", "username: u, oauth: m356"),
         "relays[0].auth.oauth: no oauth entry is named \"m356\"; did you mean m365? (DIR"},
        {RELAY("", "username: u, oauth: other"),
         "no oauth entry is named \"other\": write the name of one in oauth"},
        {"relays: [{host: h, auth: {username: u, oauth: m365}}]", "no oauth entry is named"},
        {RELAY("", "oauth: m365"), "relays[0].auth: username is missing"},
        {RELAY("", "username: u, oauth: m365, password: p"),
         "relays[0].auth: with oauth a token is the login: leave password out"},
        {RELAY("", "username: u, oauth: m365, mechanism: plain"),
         "mechanism is auto, xoauth2 or oauthbearer"},
        {RELAY("", "username: u, oauth: m365, mechanism: external"),
         "mechanism is auto, xoauth2 or oauthbearer"},
        {RELAY("tls: none, ", "username: u, oauth: m365"),
         "relays[0]: the token would go out in the clear: set tls: starttls"},
        {RELAY("tls: none, allow_plaintext_auth: true, ", "username: u, oauth: m365"), NULL},
        {RELAY("port: 25, ", "username: u, oauth: m365"), "port 25 is for traffic"},
        {OAUTH "relays: [{host: '::1', tls: none, auth: {username: u, oauth: m365}}]", NULL},
        {"relays: [{host: h, auth: {username: u, mechanism: oauthbearer}}]",
         "log in by a token: set oauth to the name"},
    };
#undef RELAY
#undef OAUTH
    EXPECT(rows, NULL);
}

Test(config, the_secret_key)
{
    static const struct {
        const char *key;
        bool good;
    } rows[] = {
        {"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", true},
        {"-_ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", true},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E", false},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F00", false},
        {"s3cret", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char variable[128];
        snprintf(variable, sizeof(variable), "POSTERN_SECRET_KEY=%s", rows[i].key);
        struct loaded l = load_env("secret_key: x", variable, NULL);
        char *text = told(&l);
        cr_expect_eq(l.config != NULL, rows[i].good, "%s: %s", rows[i].key, text);
        cr_expect_null(strstr(text, rows[i].key), "%s", text);
        if (l.config != NULL)
            cr_expect_str_eq(l.config->secret_key, rows[i].key);
        free(text);
        clear(&l);
    }
    put_str("key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    struct loaded l = load_env(NULL, "POSTERN_SECRET_KEY_FILE=DIR/key", NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->secret_key, rows[1].key);
    cr_expect_not_null(strstr(l.config->secret_key_file, "/key"));
    char *text = printed(l.config);
    cr_expect_not_null(strstr(text, "secret_key: \"********\"\n"), "%s", text);
    free(text);
    clear(&l);
}

/* --- services ----------------------------------------------------------------------------- */

/* Given over the service, the service over the default. */
Test(config, given_over_service_over_default)
{
    struct loaded l = load("relays:\n"
                           "  - {name: a, service: Office365, auth: {username: u, password: p}}\n"
                           "  - name: b\n"
                           "    service: office365\n"
                           "    host: h\n"
                           "    connections: {max: 4, idle: 1s}\n"
                           "    rate: {messages: [], recipients: 5/s}\n"
                           "    max_recipients: 0\n"
                           "    auth: {username: u, password: p}\n",
                           NULL);
    char *text = told(&l);
    cr_assert_not_null(l.config, "%s", text);
    free(text);
    const struct config_relay *a = &l.config->relays[0], *b = &l.config->relays[1];
    cr_expect_str_eq(a->host, "smtp.office365.com");
    cr_expect_eq(a->port, 587);
    cr_expect_eq(a->tls, CONFIG_TLS_STARTTLS);
    cr_expect_eq(a->connections.max, 3);
    cr_expect_eq(a->connections.idle_ms, 30000);
    cr_expect_eq(a->max_recipients, 500);
    cr_assert_eq(a->rate.messages.n_items, 1);
    cr_expect_eq(a->rate.messages.items[0].n, 30);
    cr_expect_eq(a->rate.messages.items[0].per_ms, 60000);
    cr_expect_eq(a->rate.recipients.items[0].n, 10000);

    cr_expect_str_eq(b->host, "h");
    cr_expect_eq(b->port, 587);
    cr_expect_eq(b->connections.max, 4); /* the default's own value, but it was given */
    cr_expect_eq(b->connections.idle_ms, 1000);
    cr_expect_eq(b->rate.messages.n_items, 0);
    cr_expect_eq(b->rate.recipients.items[0].n, 5);
    cr_expect_eq(b->max_recipients, 0);
    clear(&l);
}

Test(config, what_is_null_is_not_given)
{
    struct loaded l = load("relays: [{service: sendgrid, host: null, port: ~, tls: null,\n"
                           "          auth: {username: null, password: p}, max_recipients: null}]",
                           NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->relays[0].host, "smtp.sendgrid.net");
    cr_expect_str_eq(l.config->relays[0].auth.username, "apikey");
    cr_expect_eq(l.config->relays[0].port, 587);
    clear(&l);
}

Test(config, users_that_services_have)
{
    static const struct {
        const char *auth, *user;
    } rows[] = {
        {"service: sendgrid, auth: {password: p}", "apikey"},
        {"service: sendgrid, auth: {username: u, password: p}", "u"},
        {"service: resend, auth: {password: p}", "resend"},
        {"service: cloudflare, auth: {password: p}", "api_token"},
        {"service: sendgrid, auth: {mechanism: none}", NULL},
        {"service: '${SERVICE}', auth: {password: p}", "apikey"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "relays: [{%s}]", rows[i].auth);
        struct loaded l = load_env(yaml, "SERVICE=sendgrid", NULL);
        cr_assert_not_null(l.config, "%s", yaml);
        const char *user = l.config->relays[0].auth.username;
        cr_expect((user == NULL) == (rows[i].user == NULL), "%s", yaml);
        if (user != NULL && rows[i].user != NULL)
            cr_expect_str_eq(user, rows[i].user);
        clear(&l);
    }
    struct loaded l = load_env("relays: [{service: sendgrid}]", "POSTERN_RELAY_PASSWORD=p", NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->relays[0].auth.password, "p");
    clear(&l);
}

/* Port and TLS go together: one given decides the other. */
Test(config, ports_of_services)
{
    enum { I = CONFIG_TLS_IMPLICIT, S = CONFIG_TLS_STARTTLS, N = CONFIG_TLS_NONE };
    static const struct {
        const char *said;
        uint16_t port;
        int tls;
    } rows[] = {
        {"service: gmail", 465, I},
        {"service: gmail, tls: auto", 465, I},
        {"service: gmail, port: 587", 587, S},
        {"service: gmail, tls: starttls", 587, S},
        {"service: gmail, tls: ssl", 465, I},
        {"service: gmail, secure: true", 465, I},
        {"service: gmail, secure: false", 587, S},
        {"service: gmail, tls: tls", 587, S},
        {"service: gmail, port: 465, tls: tls", 465, I},
        {"service: gmail, port: 26, tls: starttls", 26, S},
        {"service: gmail, port: 465, tls: starttls", 465, S},
        {"service: gmail, port: 25", 25, S},
        {"service: sendgrid", 587, S},
        {"service: sendgrid, tls: implicit", 465, I},
        {"service: sendgrid, port: 2525, secure: false", 2525, S},
        {"service: 'ses:us-east-1', port: 2465", 2465, I}, /* by port alone it would wait and see */
        {"service: 'ses:us-east-1', port: 2587", 2587, S},
        {"service: smtp2go", 2525, S},
        {"service: smtp2go, secure: false", 2525, S},
        {"service: smtp2go, tls: implicit", 465, I},
        {"service: mailpit", 1025, N},
        {"service: mailpit, tls: none", 1025, N},
        {"service: mailpit, tls: auto, port: 1025", 1025, N},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "relays: [{%s, auth: {mechanism: none}}]", rows[i].said);
        struct loaded l = load(yaml, NULL);
        char *text = told(&l);
        cr_assert_not_null(l.config, "%s: %s", yaml, text);
        cr_expect_eq(l.config->relays[0].port, rows[i].port, "%s", yaml);
        cr_expect_eq((int)l.config->relays[0].tls, rows[i].tls, "%s", yaml);
        free(text);
        clear(&l);
    }
}

Test(config, services_that_are_none)
{
    static const struct row rows[] = {
        {"relays:\n  - service: offce365\n",
         "relays[0].service: \"offce365\" is not a service known here; did you mean office365? "
         "(DIR/postern.yaml line 2)"},
        {"relays: [{service: acme-mailer}]",
         "is not a service known here: postern check --services lists them; for any other write "
         "host, port and tls"},
        {"relays: [{service: ''}]", "is not a service known here"},
        {"relays: [{service: ses}]",
         "relays[0].service: the region is missing: write ses:REGION, such as ses:eu-west-1"},
        {"relays: [{service: 'ses:'}]", "the region is missing"},
        {"relays: [{service: 'ses:eu west'}]", "the region is missing"},
        {"relays: [{service: 'ses:eu-west-1.evil.example/'}]", "the region is missing"},
        {"relays: [{service: ses, host: vpce-1.email-smtp.eu-west-1.vpce.amazonaws.com}]", NULL},
        {"relays: [{service: 'gmail:eu'}]", "gmail has no regions: write gmail"},
    };
    EXPECT(rows, NULL);
    struct loaded l = load("relays: [{service: 'SES:eu-west-1'}]", NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->relays[0].host, "email-smtp.eu-west-1.amazonaws.com");
    cr_expect_eq(l.config->relays[0].connections.idle_ms, 8000);
    clear(&l);
}

/* --- the way to a relay ------------------------------------------------------------------- */

Test(config, proxies_pins_and_source_addresses)
{
#define PIN "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define PINS(text) "relays: [{host: h, tls_options: {pins: " text "}}]"
    static const struct row rows[] = {
        {PINS(PIN), NULL},
        {PINS("[" PIN ", " PIN "]"), NULL},
        {PINS("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
         "relays[0].tls_options: pins: \"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\" is no pin: "
         "write sha256/ and the SHA-256 of a public key in base64 (44 characters)"},
        {PINS("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"), "is no pin"},
        {PINS("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF=="), "is no pin"},
        {PINS("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV="), "is no pin"}, /* stray bits */
        {PINS("sha256/47DEQpj8HBSa+_TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), "is no pin"},
        {PINS("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=x"), "is no pin"},
        {PINS("sha1/47DEQpj8HBSa+/TImW+5JCeuQeQ="), "is no pin"},
        {PINS("''"), "is no pin"},
        {"relays: [{host: h, tls: none, tls_options: {pins: " PIN "}}]",
         "pins: with tls: none no key is shown"},

        {"relays: [{host: h, source_address: 192.0.2.1}]", NULL},
        {"relays: [{host: h, source_address: '2001:db8::1'}]", NULL},
        {"relays: [{host: h, source_address: eth0}]",
         "relays[0].source_address: \"eth0\" is not an IP address: write one of this machine's"},
        {"relays: [{host: h, source_address: '192.0.2.1:25'}]", "is not an IP address"},
        {"relays: [{host: h, source_address: '[::1]'}]", "is not an IP address"},
        {"relays: [{host: h, source_address: ''}]", "is not an IP address"},

        {"relays: [{host: h, proxy: 'http://h:3128'}]", NULL},
        {"relays: [{host: h, proxy: 'https://h:3128'}]",
         "relays[0].proxy: write socks5://host:port or http://host:port"},
        {"relays: [{host: h, proxy: ''}]", "relays[0].proxy: write socks5://"},
        {"relays: [{host: h, proxy: \"http://h\\r\\nX: y:1\"}]",
         "relays[0].proxy: write socks5://"},
        {"relays: [{host: h, proxy: 'http://u:a%0d%0ab@h:1'}]", "without control characters"},

        {"sandbox: on\nrelays: [{name: sandbox, host: h}]",
         "relays[0]: the sandbox has the name \"sandbox\": give the relay another, or set sandbox: "
         "off"},
        {"relays: [{name: sandbox, host: h}]", NULL},
        {"sandbox: off\nrelays: [{name: sandbox, host: h}]", NULL},
        {"sandbox: on\nrelays: [{name: a, host: h}]", NULL},
    };
#undef PINS
#undef PIN
    EXPECT(rows, NULL);
}

Test(config, a_proxy_from_a_file_and_where_the_password_came_from)
{
    put_str("proxy", "socks5://u:s3cret-proxy@h:1080\n");
    put_str("secret", "s3cret\n");
    struct loaded l = load("relays:\n"
                           "  - {host: h, proxy_file: DIR/proxy,\n"
                           "     auth: {username: u, password_file: DIR/secret}}\n"
                           "  - {name: b, host: h, auth: {username: u, password: p}}\n",
                           NULL);
    char *text = told(&l), *path = path_of("secret");
    cr_assert_not_null(l.config, "%s", text);
    const struct config_relay *relay = &l.config->relays[0];
    cr_expect_eq(relay->proxy.kind, CONFIG_PROXY_SOCKS5);
    cr_expect_str_eq(relay->proxy.password, "s3cret-proxy");
    cr_expect_str_eq(relay->auth.password, "s3cret");
    cr_expect_str_eq(relay->auth.password_file, path);
    cr_expect_null(l.config->relays[1].auth.password_file);
    free(text);
    clear(&l);

    l = load_env("relays: [{host: h, auth: {username: u, password: p}}]",
                 "POSTERN_RELAY_PASSWORD_FILE=DIR/secret", NULL);
    cr_assert_not_null(l.config);
    cr_expect_str_eq(l.config->relays[0].auth.password_file, path);
    clear(&l);
    l = load_env("relays: [{host: h, auth: {username: u, password_file: DIR/secret}}]",
                 "POSTERN_RELAY_PASSWORD=e", NULL);
    cr_assert_not_null(l.config);
    cr_expect_null(l.config->relays[0].auth.password_file);
    clear(&l);
    free(path);

    static const struct row rows[] = {
        {"relays: [{host: h, proxy: 'http://h:1', proxy_file: DIR/proxy}]",
         "relays[0].proxy_file: proxy and proxy_file are both given"},
        {"relays: [{host: h, proxy_file: DIR/absent}]",
         "relays[0].proxy_file: DIR/absent: No such"},
        {"relays: [{host: h, proxy_file: DIR/secret}]", "relays[0].proxy: write socks5://"},
    };
    EXPECT(rows, NULL);
}

/* --- printing ----------------------------------------------------------------------------- */

Test(config, printed_with_secrets_hidden_it_is_yaml_again)
{
    put_str("secret", "s3cret-file");
    struct loaded l = load_env(
        "listen: [\"unix:/tmp/a \\\"b\\\\c\", '127.0.0.1:1']\n"
        "api_keys:\n"
        "  - {name: a, key: s3cret-key, scopes: [read]}\n"
        "  - {name: b, key_file: DIR/secret, from: ['*@x']}\n"
        "relays:\n"
        "  - {name: r, host: h, auth: {username: \"o'n\\\"\\u0007\", password: s3cret-inline}}\n"
        "  - {name: s, host: h, auth: {username: u, password: '${P}'}}\n",
        "P=s3cret-env", NULL);
    char *why = told(&l);
    cr_assert_not_null(l.config, "%s", why);
    free(why);
    char *text = printed(l.config);
    cr_expect_null(strstr(text, "s3cret"), "%s", text);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char hex[9];
    SHA256((const unsigned char *)"s3cret-key", 10, digest);
    snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
    cr_expect_null(strstr(text, hex), "%s", text);

    json_t *tree;
    struct yaml_lines *lines;
    struct error err;
    cr_assert_eq(yaml_load(text, strlen(text), &tree, &lines, &err), 0, "%s\n%s", err.detail, text);
    const json_t *relay = json_array_get(json_object_get(tree, "relays"), 0);
    const json_t *auth = json_object_get(relay, "auth");
    cr_expect_str_eq(json_string_value(json_object_get(auth, "username")), "o'n\"\a");
    cr_expect_str_eq(json_string_value(json_object_get(auth, "password")), "********");
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(tree, "listen"), 0)),
                     "unix:/tmp/a \"b\\c");
    const json_t *key = json_array_get(json_object_get(tree, "api_keys"), 0);
    cr_expect_eq(json_array_size(json_object_get(key, "scopes")), 1);
    json_decref(tree);
    yaml_lines_free(lines);
    free(text);
    clear(&l);
}

Test(config, what_is_printed_is_what_was_understood)
{
    struct loaded l = load(
        "relays:\n"
        "  - {name: a, service: 'ses:eu-west-1', rate: {messages: [10/s, 5/m, 100/h, 1000/d]},\n"
        "     proxy: 'socks5://us%40er:s3cret@[::1]:1080/', auth: {mechanism: none}, window: 3,\n"
        "     tls_options: {pins: sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=}}\n"
        "  - {name: b, host: h, proxy: 'http://h:3128'}\n"
        "routes:\n"
        "  - {match: {to: '*@x', priority: low}, relays: [b, a]}\n"
        "  - {relays: a}\n",
        NULL);
    char *why = told(&l);
    cr_assert_not_null(l.config, "%s", why);
    free(why);
    static const char *const parts[] = {
        "    service: \"ses:eu-west-1\"\n",
        "    host: \"email-smtp.eu-west-1.amazonaws.com\"\n",
        "    port: 465\n",
        "      messages: [10/s, 5/m, 100/h, 1000/d]\n      recipients: []\n",
        "    proxy: \"socks5://us%40er:********@[::1]:1080/\"\n",
        "    proxy: \"http://h:3128\"\n",
        "      pins: [\"sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n",
        "    window: 3\n",
        "    # Filled in by ses:eu-west-1: host, connections.idle, max_recipients, port, tls\n",
        "routes:\n  - match:\n      from: []\n      to: [\"*@x\"]\n      tag: []\n"
        "      api_key: []\n      priority: [\"low\"]\n    relays: [\"b\", \"a\"]\n  - match:\n",
    };
    char *text = printed(l.config);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        cr_expect_not_null(strstr(text, parts[i]), "%s\n%s", parts[i], text);
    cr_expect_null(strstr(text, "s3cret"), "%s", text);
    free(text);
    clear(&l);
}

Test(config, the_services_are_listed)
{
    static const char *const rows[] = {
        "\n| `office365`, `microsoft365`, `outlook365`, `m365`, `exchange-online` | "
        "smtp.office365.com | 587 starttls | yes | connections.max=3 ",
        "\n| `ses:REGION`, ",
        "| email-smtp.{region}.amazonaws.com | 465 implicit, 587 starttls, 2465 implicit, 2587 ",
        "\n| `mailpit`, `maildev` | localhost | 1025 none |  |  |\n",
    };
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print_services(out);
    fclose(out);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_not_null(strstr(text, rows[i]), "%s\n%s", rows[i], text);
    free(text);
}

Test(config, the_reference_has_every_setting)
{
    static const char *const rows[] = {"| `listen` | `127.0.0.1:8080` |",
                                       "| `http.memory` |",
                                       "| `relays[].tls_options.ca_file` |",
                                       "| `api_keys[].sha256` |",
                                       "| `log.format` | `logfmt` |",
                                       "| `relays[].window` | `16` |",
                                       "| `relays[].service` |",
                                       "| `relays[].rate.messages` |",
                                       "| `relays[].proxy` |",
                                       "| `relays[].source_address` |",
                                       "| `relays[].auth.domain` |",
                                       "| `relays[].tls_options.pins` |",
                                       "| `api_keys[].relay` |",
                                       "| `secret_key` |",
                                       "| `relays[].auth.oauth` |",
                                       "| `oauth[].grant` | `refresh_token` |",
                                       "| `oauth[].token_url` |",
                                       "| `routes[].match.priority` |",
                                       "| `routes[].relays` |"};
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print_reference(out);
    fclose(out);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_not_null(strstr(text, rows[i]), "%s", rows[i]);
    free(text);
}

/* --- what we say of ourselves to a relay -------------------------------------------------- */

Test(config, a_name_for_ehlo_goes_out_as_the_standard_has_it)
{
    static const struct {
        const char *written, *said;
    } rows[] = {
        {"gw.example.com", "gw.example.com"},
        {"localhost", "localhost"},
        {"3com.example", "3com.example"},
        {"192.0.2.1", "[192.0.2.1]"},
        {"[192.0.2.1]", "[192.0.2.1]"},
        {"2001:db8::1", "[IPv6:2001:db8::1]"},
        {"[2001:DB8:0::1]", "[IPv6:2001:db8::1]"},
        {"[ipv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
        {"::1", "[IPv6:::1]"},
        {"b\xc3\xbcro.example.com", "xn--bro-hoa.example.com"},
        {"B\xc3\x9cRO.example.com", "xn--bro-hoa.example.com"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "relays: [{host: h, hostname: '%s'}]", rows[i].written);
        struct loaded l = load(yaml, NULL);
        cr_expect(l.config != NULL && strcmp(l.config->relays[0].hostname, rows[i].said) == 0,
                  "%s: %s", rows[i].written,
                  l.config != NULL ? l.config->relays[0].hostname : "refused");
        clear(&l);
    }
}

Test(config, extensions_to_do_without)
{
    struct loaded l = load("relays: [{host: h, without: [chunking, SIZE]}]", NULL);
    cr_assert_not_null(l.config);
    cr_expect_eq(l.config->relays[0].without, CONFIG_EXTENSION_CHUNKING | CONFIG_EXTENSION_SIZE);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print(l.config, out);
    fclose(out);
    cr_expect_not_null(strstr(text, "without: [chunking, size]"), "%s", text);
    free(text);
    clear(&l);
    l = load("relays: [{host: h, without: 8bitmime}]", NULL); /* one is a list of one */
    cr_assert_not_null(l.config);
    cr_expect_eq(l.config->relays[0].without, CONFIG_EXTENSION_8BITMIME);
    clear(&l);
}
