#include "smtp/transport_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/authorities.h"
#include "base/log.h"
#include "smtp/certificate.h"

enum { SECURITY_LEVEL = 2 }; /* 112 bits: no RSA below 2048, no SHA-1 signature, no RC4 */

/* What belongs to a context and lives as long: its connections may outlive everything else. */
struct trust {
    bool verify;
    char **pins;          /* owned; never NULL, ended by NULL */
    pthread_mutex_t lock; /* guards the session; nothing is taken under it */
    SSL_SESSION *session; /* the newest ticket; owned */
};

/*
 * What contexts are made of; it borrows nothing, for whoever reads files may outlive us. Each that
 * is made is an SSL_CTX, counted by OpenSSL: connections that are up hold the one they began with.
 */
struct recipe {
    struct transport_tls_settings settings; /* its strings and the pins are owned */
};

struct transport_tls {
    char *name; /* owned: server_name without the dot that a name in DNS may end with */
    bool name_is_ip;
    struct reload *contexts;
};

static int trust_index = -1; /* SSL_CTX -> struct trust */
static int shown_index = -1; /* SSL -> struct transport_shown */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_strings(char **list)
{
    for (char **at = list; list != NULL && *at != NULL; at++)
        free(*at);
    free(list);
}

static void free_trust(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl,
                       void *argp)
{
    struct trust *trust = ptr;
    if (trust == NULL)
        return;
    SSL_SESSION_free(trust->session);
    free_strings(trust->pins);
    pthread_mutex_destroy(&trust->lock);
    free(trust);
}

static void make_indices(void)
{
    trust_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_trust);
    shown_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown reason";
}

/* --- the session to resume ---------------------------------------------------------------- */

/* It belongs to the context it was made in: with another's files it would be a way around them. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct trust *trust = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), trust_index);
    pthread_mutex_lock(&trust->lock);
    SSL_SESSION *dropped = trust->session;
    trust->session = session;
    pthread_mutex_unlock(&trust->lock);
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

static bool meets_pin(const struct trust *trust, const X509 *certificate)
{
    char pin[CERTIFICATE_PIN_SIZE];
    certificate_pin(certificate, pin);
    for (char *const *pins = trust->pins; *pins != NULL; pins++)
        if (strcmp(*pins, pin) == 0)
            return true;
    return false;
}

static bool meets_pins(const struct trust *trust, X509_STORE_CTX *store)
{
    if (trust->pins[0] == NULL)
        return true;
    if (!trust->verify)
        return meets_pin(trust, X509_STORE_CTX_get0_cert(store));
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (meets_pin(trust, sk_X509_value(chain, i)))
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
    const struct trust *trust = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct transport_shown *shown = SSL_get_ex_data(ssl, shown_index);
    keep(&shown->certificate, X509_STORE_CTX_get0_cert(store));
    shown->n_sent = sk_X509_num(X509_STORE_CTX_get0_untrusted(store));
    if (trust->verify && X509_verify_cert(store) != 1) {
        keep(&shown->refused, X509_STORE_CTX_get_current_cert(store));
        return 0;
    }
    if (meets_pins(trust, store))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static int load_ca(SSL_CTX *ctx, const struct transport_tls_settings *settings,
                   struct reload_notes *notes, struct error *err)
{
    X509_STORE *store = NULL;
    struct error why;
    if (authorities_load(settings->ca_file, notes, &store, &why) < 0)
        return error_set(
            err, why.code, "%s%s: %s", settings->ca_file != NULL ? "tls_options.ca_file " : "",
            settings->ca_file != NULL ? settings->ca_file : "the system's certificate authorities",
            why.detail);
    SSL_CTX_set_cert_store(ctx, store); /* takes it */
    return 0;
}

static const char *key_file(const struct transport_tls_settings *settings)
{
    return settings->key != NULL ? settings->key : settings->certificate;
}

/* Else OpenSSL would ask on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    return -1;
}

static int load_certificate(SSL_CTX *ctx, const struct transport_tls_settings *settings,
                            struct reload_notes *notes, struct error *err)
{
    const char *key = key_file(settings);
    if (settings->certificate == NULL)
        return 0;
    if (!reload_note(notes, settings->certificate) ||
        (settings->key != NULL && !reload_note(notes, settings->key)))
        return error_set(err, ERR_CONFIG,
                         "tls_options.certificate %s: not a file that can be read "
                         "again",
                         settings->certificate);
    if (SSL_CTX_use_certificate_chain_file(ctx, settings->certificate) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.certificate %s: %s", settings->certificate,
                         openssl_reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.key %s: %s", key, openssl_reason());
    return 0;
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

/* --- contexts ----------------------------------------------------------------------------- */

static char **copy_strings(const char *const *list)
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL)
        n++;
    char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < n; i++)
        if ((copy[i] = strdup(list[i])) == NULL) {
            free_strings(copy);
            return NULL;
        }
    return copy;
}

static struct trust *trust_new(const struct transport_tls_settings *settings)
{
    struct trust *trust = calloc(1, sizeof(*trust));
    if (trust == NULL || (trust->pins = copy_strings(settings->pins)) == NULL) {
        free(trust);
        return NULL;
    }
    pthread_mutex_init(&trust->lock, NULL);
    trust->verify = settings->verify;
    return trust;
}

static SSL_CTX *context_new(const struct transport_tls_settings *settings)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct trust *trust = ctx != NULL ? trust_new(settings) : NULL;
    if (trust == NULL || SSL_CTX_set_ex_data(ctx, trust_index, trust) != 1) {
        free_trust(NULL, trust, NULL, 0, 0, NULL);
        SSL_CTX_free(ctx);
        return NULL;
    }
    set_policy(ctx, settings);
    /* What the user hands us is trusted, be it no root: an intermediate, the server's own. */
    if (settings->ca_file != NULL)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify, trust);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    return ctx;
}

static int load(const void *recipe, struct reload_notes *notes, void **ctx_out, struct error *err)
{
    const struct transport_tls_settings *settings = &((const struct recipe *)recipe)->settings;
    ERR_clear_error();
    SSL_CTX *ctx = context_new(settings);
    if (ctx == NULL)
        return error_set(err, ERR_NOMEM, "TLS context");
    int rc = load_ca(ctx, settings, notes, err);
    if (rc == 0)
        rc = load_certificate(ctx, settings, notes, err);
    ERR_clear_error();
    if (rc < 0)
        SSL_CTX_free(ctx);
    else
        *ctx_out = ctx;
    return rc;
}

/* With the files of another, as they were read. */
static SSL_CTX *context_like(SSL_CTX *other, const struct transport_tls_settings *settings)
{
    SSL_CTX *ctx = context_new(settings);
    STACK_OF(X509) *chain = NULL;
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(other));
    X509 *certificate = SSL_CTX_get0_certificate(other);
    SSL_CTX_get0_chain_certs(other, &chain);
    if (certificate == NULL || (SSL_CTX_use_certificate(ctx, certificate) == 1 &&
                                SSL_CTX_use_PrivateKey(ctx, SSL_CTX_get0_privatekey(other)) == 1 &&
                                (chain == NULL || SSL_CTX_set1_chain(ctx, chain) == 1)))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static void ref_context(void *made)
{
    SSL_CTX_up_ref(made);
}

static void unref_context(void *made)
{
    SSL_CTX_free(made);
}

static void drop_recipe(void *arg)
{
    struct recipe *recipe = arg;
    struct transport_tls_settings *settings = &recipe->settings;
    free((char *)settings->ca_file);
    free((char *)settings->certificate);
    free((char *)settings->key);
    free((char *)settings->server_name);
    free_strings((char **)settings->pins);
    free(recipe);
}

static void on_told(const void *arg, const struct error *err)
{
    const struct recipe *recipe = arg;
    if (err == NULL)
        log_info("certificate files loaded anew", LOG_STR("host", recipe->settings.server_name));
    else
        log_warn("certificate files not loaded, the old ones stay",
                 LOG_STR("code", error_word(err->code)), LOG_STR("detail", err->detail));
}

static const struct reload_kind kind = {
    .load = load,
    .ref = ref_context,
    .unref = unref_context,
    .drop = drop_recipe,
    .told = on_told,
};

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

static bool copy_string(const char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static struct recipe *recipe_new(const struct transport_tls_settings *from)
{
    struct recipe *recipe = calloc(1, sizeof(*recipe));
    if (recipe == NULL)
        return NULL;
    struct transport_tls_settings *to = &recipe->settings;
    to->verify = from->verify;
    to->min_version = from->min_version;
    to->pins = (const char *const *)copy_strings(from->pins);
    if (to->pins != NULL && copy_string(&to->ca_file, from->ca_file) &&
        copy_string(&to->certificate, from->certificate) && copy_string(&to->key, from->key) &&
        copy_string(&to->server_name, from->server_name))
        return recipe;
    drop_recipe(recipe);
    return NULL;
}

static int find_contexts(struct transport_tls *tls, const struct transport_tls_settings *settings,
                         struct error *err)
{
    struct recipe *recipe = recipe_new(settings);
    SSL_CTX *ctx = NULL;
    if (recipe != NULL && settings->like != NULL) {
        SSL_CTX *other = reload_take(settings->like->contexts);
        ctx = context_like(other, settings);
        SSL_CTX_free(other);
    }
    if (recipe != NULL && (settings->like == NULL || ctx != NULL))
        return reload_new(&kind, recipe, ctx, settings->like != NULL ? NULL : settings->reloader,
                          &tls->contexts, err);
    if (recipe != NULL)
        drop_recipe(recipe);
    return error_set(err, ERR_NOMEM, "TLS context");
}

int transport_tls_new(const struct transport_tls_settings *settings, struct transport_tls **tls_out,
                      struct error *err)
{
    pthread_once(&once, make_indices);
    struct transport_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL || (tls->name = without_last_dot(settings->server_name)) == NULL) {
        free(tls);
        return error_set(err, ERR_NOMEM, "TLS context");
    }
    tls->name_is_ip = is_ip(tls->name);
    if (find_contexts(tls, settings, err) < 0) {
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
    reload_free(tls->contexts);
    free(tls->name);
    free(tls);
}

void transport_tls_look(struct transport_tls *tls)
{
    reload_look(tls->contexts);
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

static void resume_session(SSL *ssl, struct trust *trust)
{
    pthread_mutex_lock(&trust->lock);
    SSL_SESSION *session = trust->session;
    if (session != NULL)
        SSL_SESSION_up_ref(session);
    pthread_mutex_unlock(&trust->lock);
    if (session != NULL && still_good(session))
        SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
}

SSL *transport_tls_open(struct transport_tls *tls, struct transport_shown *shown)
{
    SSL_CTX *ctx = reload_take(tls->contexts);
    SSL *ssl = SSL_new(ctx);
    if (ssl != NULL)
        resume_session(ssl, SSL_CTX_get_ex_data(ctx, trust_index));
    SSL_CTX_free(ctx); /* the connection holds it, if there is one */
    if (ssl != NULL && SSL_set_ex_data(ssl, shown_index, shown) == 1 && expect_name(ssl, tls))
        return ssl;
    SSL_free(ssl);
    return NULL;
}
