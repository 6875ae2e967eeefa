#include "smtp/transport_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "smtp/certificate.h"

enum {
    LOOK_EVERY_MS = 1000,
    SECURITY_LEVEL = 2, /* 112 bits: no RSA below 2048, no SHA-1 signature, no RC4 */
    N_FILES = 3,
};

/* What tells that a file is not the one that was loaded. Zero: there is none. */
struct stamp {
    struct timespec changed;
    off_t size;
    ino_t inode;
};

struct transport_tls {
    struct transport_tls_settings settings;
    const char **pins; /* never NULL, ended by NULL; the array is owned, the strings are not */
    char *name;        /* owned: server_name without the dot that a name in DNS may end with */
    bool name_is_ip;
    pthread_mutex_t lock; /* guards what follows */
    SSL_CTX *ctx; /* counted by OpenSSL: connections that are up hold the one they began with */
    SSL_SESSION *session;         /* the newest ticket of `ctx`; owned */
    struct stamp stamps[N_FILES]; /* of when it was last tried to load them */
    int64_t looked_ms;
};

static int tls_index = -1;   /* SSL_CTX -> struct transport_tls */
static int shown_index = -1; /* SSL -> struct transport_shown */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_indices(void)
{
    tls_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    shown_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown reason";
}

/* --- the session to resume ---------------------------------------------------------------- */

/* Of a connection that began before the files changed it would be a way around the new ones. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    struct transport_tls *tls = SSL_CTX_get_ex_data(ctx, tls_index);
    pthread_mutex_lock(&tls->lock);
    SSL_SESSION *dropped = session;
    if (ctx == tls->ctx) {
        dropped = tls->session;
        tls->session = session;
    }
    pthread_mutex_unlock(&tls->lock);
    SSL_SESSION_free(dropped);
    return 1; /* the reference is ours now */
}

/* Resuming asks for no certificate again, so one that has expired since must not be resumed. */
static bool still_good(SSL_SESSION *session)
{
    X509 *shown = SSL_SESSION_get0_peer(session);
    return SSL_SESSION_is_resumable(session) && shown != NULL &&
           X509_cmp_current_time(X509_get0_notAfter(shown)) > 0;
}

/* --- whom to trust ------------------------------------------------------------------------ */

static bool meets_pin(const struct transport_tls *tls, const X509 *certificate)
{
    char pin[CERTIFICATE_PIN_SIZE];
    certificate_pin(certificate, pin);
    for (const char *const *pins = tls->pins; *pins != NULL; pins++)
        if (strcmp(*pins, pin) == 0)
            return true;
    return false;
}

static bool meets_pins(const struct transport_tls *tls, X509_STORE_CTX *store)
{
    if (tls->pins[0] == NULL)
        return true;
    if (!tls->settings.verify)
        return meets_pin(tls, X509_STORE_CTX_get0_cert(store));
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (meets_pin(tls, sk_X509_value(chain, i)))
            return true;
    return false;
}

static void keep(X509 **kept, X509 *certificate)
{
    if (*kept == NULL && certificate != NULL && X509_up_ref(certificate) == 1)
        *kept = certificate;
}

/* In place of OpenSSL's own: within the handshake, so that a chain whose pins are not met leaves no
 * session behind to be resumed. */
static int verify(X509_STORE_CTX *store, void *arg)
{
    const struct transport_tls *tls = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct transport_shown *shown = SSL_get_ex_data(ssl, shown_index);
    keep(&shown->certificate, X509_STORE_CTX_get0_cert(store));
    shown->n_sent = sk_X509_num(X509_STORE_CTX_get0_untrusted(store));
    if (tls->settings.verify && X509_verify_cert(store) != 1) {
        keep(&shown->refused, X509_STORE_CTX_get_current_cert(store));
        return 0;
    }
    if (meets_pins(tls, store))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static int load_ca(SSL_CTX *ctx, const struct transport_tls_settings *settings, struct error *err)
{
    if (settings->ca_file == NULL && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return error_set(err, ERR_CONFIG, "the system's certificate authorities: %s",
                         openssl_reason());
    if (settings->ca_file != NULL && SSL_CTX_load_verify_file(ctx, settings->ca_file) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.ca_file %s: %s", settings->ca_file,
                         openssl_reason());
    /* What the user hands us is trusted, be it no root: an intermediate, the server's own. */
    if (settings->ca_file != NULL)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return 0;
}

static const char *key_file(const struct transport_tls_settings *settings)
{
    return settings->key != NULL ? settings->key : settings->certificate;
}

static int load_certificate(SSL_CTX *ctx, const struct transport_tls_settings *settings,
                            struct error *err)
{
    if (settings->certificate == NULL)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, settings->certificate) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.certificate %s: %s", settings->certificate,
                         openssl_reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file(settings), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.key %s: %s", key_file(settings),
                         openssl_reason());
    return 0;
}

static int no_passphrase(char *text, int size, int writing, void *arg)
{
    return -1; /* OpenSSL would ask the terminal */
}

static void set_policy(SSL_CTX *ctx, const struct transport_tls_settings *settings)
{
    SSL_CTX_set_min_proto_version(ctx, settings->min_version);
    if (SSL_CTX_get_security_level(ctx) < SECURITY_LEVEL) /* the system's may be higher */
        SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
}

static int load(struct transport_tls *tls, SSL_CTX **ctx_out, struct error *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL || SSL_CTX_set_ex_data(ctx, tls_index, tls) != 1) {
        SSL_CTX_free(ctx);
        return error_set(err, ERR_NOMEM, "TLS context");
    }
    set_policy(ctx, &tls->settings);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify, tls);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    if (load_ca(ctx, &tls->settings, err) < 0 || load_certificate(ctx, &tls->settings, err) < 0) {
        SSL_CTX_free(ctx);
        return -1;
    }
    *ctx_out = ctx;
    return 0;
}

/* --- the files ---------------------------------------------------------------------------- */

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (path == NULL || stat(path, &st) < 0)
        return (struct stamp){0};
    return (struct stamp){.changed = st.st_mtim, .size = st.st_size, .inode = st.st_ino};
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->size == b->size && a->inode == b->inode;
}

/* True if any is another than before. */
static bool look(struct transport_tls *tls)
{
    const char *paths[N_FILES] = {tls->settings.ca_file, tls->settings.certificate,
                                  key_file(&tls->settings)};
    bool changed = false;
    for (size_t i = 0; i < N_FILES; i++) {
        struct stamp now = stamp_of(paths[i]);
        changed |= !same(&now, &tls->stamps[i]);
        tls->stamps[i] = now;
    }
    return changed;
}

/* A certificate and its key are seldom replaced in the same instant: what does not fit together is
 * looked at again when the next of them changes. */
static void load_anew(struct transport_tls *tls)
{
    struct error err;
    SSL_CTX *ctx;
    if (load(tls, &ctx, &err) < 0) {
        log_warn("certificate files not loaded, the old ones stay",
                 LOG_STR("code", error_word(err.code)), LOG_STR("detail", err.detail));
        return;
    }
    SSL_CTX_free(tls->ctx);
    SSL_SESSION_free(tls->session);
    tls->ctx = ctx;
    tls->session = NULL;
    log_info("certificate files loaded anew", LOG_STR("host", tls->settings.server_name));
}

void transport_tls_refresh(struct transport_tls *tls, int64_t now_ms)
{
    pthread_mutex_lock(&tls->lock);
    if (now_ms - tls->looked_ms >= LOOK_EVERY_MS) {
        tls->looked_ms = now_ms;
        if (look(tls))
            load_anew(tls);
    }
    pthread_mutex_unlock(&tls->lock);
}

/* --- its life ----------------------------------------------------------------------------- */

static bool is_ip(const char *name)
{
    unsigned char octets[16];
    return inet_pton(AF_INET, name, octets) == 1 || inet_pton(AF_INET6, name, octets) == 1;
}

/* RFC 6066, 3. Certificates have none either. */
static char *without_last_dot(const char *name)
{
    size_t len = strlen(name);
    return strndup(name, len - (len > 1 && name[len - 1] == '.'));
}

static const char **copy_pins(const char *const *pins)
{
    size_t n = 0;
    while (pins != NULL && pins[n] != NULL)
        n++;
    const char **copy = calloc(n + 1, sizeof(*copy));
    if (copy != NULL && n > 0)
        memcpy(copy, pins, n * sizeof(*copy));
    return copy;
}

int transport_tls_new(const struct transport_tls_settings *settings, struct transport_tls **tls_out,
                      struct error *err)
{
    pthread_once(&once, make_indices);
    struct transport_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return error_set(err, ERR_NOMEM, "TLS context");
    pthread_mutex_init(&tls->lock, NULL);
    tls->settings = *settings;
    tls->pins = copy_pins(settings->pins);
    tls->name = without_last_dot(settings->server_name);
    if (tls->name == NULL) {
        transport_tls_free(tls);
        return error_set(err, ERR_NOMEM, "TLS context");
    }
    tls->name_is_ip = is_ip(tls->name);
    look(tls); /* before they are read: a change in between is seen the next time */
    int rc = tls->pins != NULL ? load(tls, &tls->ctx, err) : error_set(err, ERR_NOMEM, "pins");
    if (rc < 0) {
        transport_tls_free(tls);
        return -1;
    }
    *tls_out = tls;
    return 0;
}

void transport_tls_free(struct transport_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_SESSION_free(tls->session);
    SSL_CTX_free(tls->ctx);
    pthread_mutex_destroy(&tls->lock);
    free(tls->pins);
    free(tls->name);
    free(tls);
}

/* --- a connection ------------------------------------------------------------------------- */

static bool expect_name(SSL *ssl, const struct transport_tls *tls)
{
    const char *name = tls->name;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    /* RFC 9525, 6.3: the subjectAltName alone counts, a wildcard is a whole leftmost label */
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (tls->name_is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, name) == 1;
}

void transport_shown_clear(struct transport_shown *shown)
{
    X509_free(shown->certificate);
    X509_free(shown->refused);
    *shown = (struct transport_shown){0};
}

SSL *transport_tls_open(struct transport_tls *tls, struct transport_shown *shown)
{
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->ctx);
    if (ssl != NULL && tls->session != NULL && still_good(tls->session))
        SSL_set_session(ssl, tls->session);
    pthread_mutex_unlock(&tls->lock);
    if (ssl != NULL && SSL_set_ex_data(ssl, shown_index, shown) == 1 && expect_name(ssl, tls))
        return ssl;
    SSL_free(ssl);
    return NULL;
}
