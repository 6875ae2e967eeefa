/*
 * What is done through GSSAPI (RFC 2743): Kerberos (SASL's GSSAPI, RFC 4752) and NTLM, whose
 * mechanism Debian's gss-ntlmssp adds to MIT's library. libgsasl's own NTLM is version 1, which
 * servers refuse; its GSSAPI goes through another library, which keeps the reason of a failure to
 * itself ("no ticket", "no such server in the realm").
 *
 * The library waits, so its steps are not made on a loop's thread. Kerberos: for the resolver, to
 * make the host's name canonical and to find a KDC, and for the KDC itself (27 s when that says
 * nothing, 6 ms when it answers), once for each server and ticket; then it has the server's ticket
 * in the cache and waits for nothing but files. NTLM: for winbindd, if one runs here.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/nthash.h"
#include "smtp/sasl_engine.h"

static gss_OID_desc NTLMSSP = {10, (void *)"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"};

struct context {
    gss_OID mechanism;
    gss_cred_id_t credential; /* GSS_C_NO_CREDENTIAL: the default one */
    gss_name_t target;
    gss_ctx_id_t gss;
    bool established;
    char *user; /* as whom we want to act; NULL: the ticket's */
};

/* --- errors ------------------------------------------------------------------------------- */

static void describe(OM_uint32 status, int type, gss_OID mechanism, char *out, size_t size)
{
    OM_uint32 minor, more = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    out[0] = '\0';
    if (gss_display_status(&minor, status, type, mechanism, &more, &text) == GSS_S_COMPLETE)
        snprintf(out, size, "%.*s", (int)text.length, (const char *)text.value);
    gss_release_buffer(&minor, &text);
}

/* The mechanism's own words say more than GSSAPI's, where it has any. */
static int failed(struct sasl *sasl, OM_uint32 major, OM_uint32 minor, struct error *err)
{
    struct context *c = sasl->state;
    char text[256] = "";
    if (minor != 0)
        describe(minor, GSS_C_MECH_CODE, c->mechanism, text, sizeof(text));
    if (text[0] == '\0')
        describe(major, GSS_C_GSS_CODE, GSS_C_NO_OID, text, sizeof(text));
    bool nonsense = GSS_ROUTINE_ERROR(major) == GSS_S_DEFECTIVE_TOKEN ||
                    GSS_ROUTINE_ERROR(major) == GSS_S_BAD_SIG;
    if (!nonsense)
        return sasl_unusable(sasl, err, text);
    return error_set(err, ERR_PROTOCOL, "AUTH %s: %s", sasl->mechanism->name, text);
}

/* --- beginning and end -------------------------------------------------------------------- */

static int import(struct sasl *sasl, const char *text, gss_OID type, gss_name_t *name_out,
                  struct error *err)
{
    gss_buffer_desc buffer = {strlen(text), (void *)(uintptr_t)text};
    OM_uint32 minor, major = gss_import_name(&minor, &buffer, type, name_out);
    return GSS_ERROR(major) ? failed(sasl, major, minor, err) : 0;
}

static int begin_context(struct sasl *sasl, const struct sasl_offer *offer, gss_OID mechanism,
                         struct error *err)
{
    const struct sasl_credentials *credentials = offer->credentials;
    struct context *c = sasl->state = calloc(1, sizeof(*c));
    if (c == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    c->mechanism = mechanism;
    if (credentials->user != NULL && (c->user = strdup(credentials->user)) == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    char host[256], service[320];
    sasl_host_name(credentials, host);
    snprintf(service, sizeof(service), "smtp@%s", host);
    return import(sasl, service, GSS_C_NT_HOSTBASED_SERVICE, &c->target, err);
}

static int begin_krb5(struct sasl *sasl, const struct sasl_offer *offer, struct error *err)
{
    return begin_context(sasl, offer, (gss_OID)(uintptr_t)gss_mech_krb5, err);
}

bool sasl_ntlm_installed(void)
{
    OM_uint32 minor;
    int present = 0;
    gss_OID_set all = GSS_C_NO_OID_SET;
    if (gss_indicate_mechs(&minor, &all) == GSS_S_COMPLETE)
        gss_test_oid_set_member(&minor, &NTLMSSP, all, &present);
    gss_release_oid_set(&minor, &all);
    return present != 0;
}

/* "DOMAIN\user", as NTLM names users; who writes it so means it. */
static int import_user(struct sasl *sasl, const struct sasl_credentials *credentials,
                       gss_name_t *name_out, struct error *err)
{
    char text[512];
    const char *user = credentials->user, *domain = credentials->domain;
    bool whole = domain == NULL || strchr(user, '\\') != NULL;
    int n = snprintf(text, sizeof(text), "%s%s%s", whole ? "" : domain, whole ? "" : "\\", user);
    if (n < 0 || (size_t)n >= sizeof(text))
        return error_set(err, ERR_AUTH_FAILED, "AUTH NTLM: a user's name of %d octets", n);
    return import(sasl, text, GSS_C_NT_USER_NAME, name_out, err);
}

/* The hash goes by the name that gss-ntlmssp knows it by, in a store of credentials that is only
 * ours. */
static int acquire_by_hash(struct sasl *sasl, gss_name_t user, const char *hash, struct error *err)
{
    struct context *c = sasl->state;
    gss_key_value_element_desc element = {"ntlmssp_nthash", hash};
    const gss_key_value_set_desc store = {1, &element};
    gss_OID_set_desc only = {1, &NTLMSSP};
    OM_uint32 minor;
    OM_uint32 major = gss_acquire_cred_from(&minor, user, GSS_C_INDEFINITE, &only, GSS_C_INITIATE,
                                            &store, &c->credential, NULL, NULL);
    return GSS_ERROR(major) ? failed(sasl, major, minor, err) : 0;
}

static int acquire_ntlm(struct sasl *sasl, const struct sasl_credentials *credentials,
                        struct error *err)
{
    char hash[NTHASH_SIZE];
    OM_uint32 minor;
    gss_name_t user = GSS_C_NO_NAME;
    if (nthash_of(credentials->password, hash, err) < 0)
        return -1;
    int rc = import_user(sasl, credentials, &user, err);
    if (rc == 0)
        rc = acquire_by_hash(sasl, user, hash, err);
    explicit_bzero(hash, sizeof(hash));
    gss_release_name(&minor, &user);
    return rc;
}

static int begin_ntlm(struct sasl *sasl, const struct sasl_offer *offer, struct error *err)
{
    if (!sasl_ntlm_installed())
        return error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE,
                         "AUTH NTLM is done by a plug-in of GSSAPI that is not installed here: "
                         "install the package gss-ntlmssp");
    if (begin_context(sasl, offer, &NTLMSSP, err) < 0)
        return -1;
    return acquire_ntlm(sasl, offer->credentials, err);
}

static void end(struct sasl *sasl)
{
    struct context *c = sasl->state;
    OM_uint32 minor;
    gss_delete_sec_context(&minor, &c->gss, GSS_C_NO_BUFFER);
    gss_release_name(&minor, &c->target);
    gss_release_cred(&minor, &c->credential);
    free(c->user);
    free(c);
}

/* --- the exchange ------------------------------------------------------------------------- */

static int exchange_tokens(struct sasl *sasl, const char *challenge, size_t len, OM_uint32 flags,
                           struct buffer *out, struct error *err)
{
    struct context *c = sasl->state;
    gss_buffer_desc in = {len, (void *)(uintptr_t)challenge}, token = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor, ignored;
    OM_uint32 major =
        gss_init_sec_context(&minor, c->credential, &c->gss, c->target, c->mechanism, flags, 0,
                             GSS_C_NO_CHANNEL_BINDINGS, &in, NULL, &token, NULL, NULL);
    if (!GSS_ERROR(major))
        buffer_append(out, token.value, token.length);
    gss_release_buffer(&ignored, &token);
    c->established = major == GSS_S_COMPLETE;
    return GSS_ERROR(major) ? failed(sasl, major, minor, err) : 0;
}

/* The server says which layers it has, we say that we want none (TLS is the layer) and whom we act
 * as (RFC 4752, 3.1). That it can wrap is the proof that it is the server. */
static int agree_on_no_layer(struct sasl *sasl, const char *challenge, size_t len,
                             struct buffer *out, struct error *err)
{
    enum { NO_LAYER = 1, HEADER = 4 };
    struct context *c = sasl->state;
    gss_buffer_desc in = {len, (void *)(uintptr_t)challenge}, plain = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor, ignored;
    OM_uint32 major = gss_unwrap(&minor, c->gss, &in, &plain, NULL, NULL);
    if (GSS_ERROR(major))
        return failed(sasl, major, minor, err);
    bool possible = plain.length == HEADER && (((const char *)plain.value)[0] & NO_LAYER) != 0;
    gss_release_buffer(&ignored, &plain);
    if (!possible)
        return error_set(err, ERR_PROTOCOL,
                         "AUTH GSSAPI: the server insists on a layer of its own");

    char answer[HEADER + 256] = {NO_LAYER};
    size_t user_len = c->user != NULL ? strnlen(c->user, sizeof(answer) - HEADER) : 0;
    memcpy(answer + HEADER, c->user != NULL ? c->user : "", user_len);
    gss_buffer_desc wanted = {HEADER + user_len, answer}, wrapped = GSS_C_EMPTY_BUFFER;
    major = gss_wrap(&minor, c->gss, 0, GSS_C_QOP_DEFAULT, &wanted, NULL, &wrapped);
    if (GSS_ERROR(major))
        return failed(sasl, major, minor, err);
    buffer_append(out, wrapped.value, wrapped.length);
    gss_release_buffer(&ignored, &wrapped);
    sasl->done = true;
    return 0;
}

static int step_krb5(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                     struct error *err)
{
    const struct context *c = sasl->state;
    if (c->established)
        return agree_on_no_layer(sasl, challenge, len, out, err);
    return exchange_tokens(sasl, challenge, len, GSS_C_MUTUAL_FLAG | GSS_C_INTEG_FLAG, out, err);
}

static int step_ntlm(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                     struct error *err)
{
    const struct context *c = sasl->state;
    if (exchange_tokens(sasl, challenge, len, GSS_C_INTEG_FLAG, out, err) < 0)
        return -1;
    sasl->done = c->established;
    return 0;
}

const struct sasl_engine sasl_krb5 = {begin_krb5, step_krb5, end, .waits = true};
const struct sasl_engine sasl_ntlm = {begin_ntlm, step_ntlm, end, .waits = true};
