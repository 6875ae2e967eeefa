#include "net/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/authorities.h"
#include "base/clock.h"
#include "base/loopback.h"

enum {
    HEADERS_MAX = 64 * 1024, /* octets of them; libcurl keeps them all */
    RETRY_AFTER_MAX_S = 24 * 3600,
    LATE_TURNS_MAX = 1000, /* of the loop, for what was in the socket at the deadline */
};

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;        /* NULL: freed, only its handles are still closing */
    uv_timer_t timer;    /* libcurl's */
    uv_timer_t late;     /* tells those whose request was refused that it was */
    uv_timer_t deadline; /* the next of the exchanges' */
    size_t n_handles;    /* of the three, not closed yet */
    struct http_exchange *exchanges;
    struct reload *trust, *own_trust; /* the same; the second is owned, or NULL */
    char *proxy;                      /* owned */
};

struct trust { /* what a reload of http_trust_new() makes */
    atomic_uint holders;
    X509_STORE *store; /* NULL: */
    struct error why;
};

struct http_exchange {
    struct http_exchange *next; /* of the client's */
    struct http_client *client;
    CURL *easy;
    CURLU *url;
    struct curl_slist *headers; /* ours; they hold secrets */
    struct trust *trust;        /* a reference */
    char *body;                 /* room for all that is allowed: growing would leave copies */
    size_t body_len, body_max;
    size_t headers_len;
    bool too_large;
    int64_t retry_after_ms;
    struct error refused;            /* ERR_NONE: it is on its way */
    int64_t timeout_ms, deadline_ms; /* the second on the monotonic clock */
    unsigned n_late_turns;           /* of the loop, since the deadline */
    size_t n_late_octets;            /* how much had come at the last of them */
    http_done_fn *done;
    void *arg;
    char why[CURL_ERROR_SIZE];
};

/* --- which URLs ---------------------------------------------------------------------------- */

/* By the parser that will be obeyed too, so that both see the same host. */
static bool is_allowed(CURLU *url)
{
    char *scheme = NULL, *host = NULL;
    bool allowed = false;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        allowed =
            strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && loopback_is(host));
    curl_free(scheme);
    curl_free(host);
    return allowed;
}

/* What is wrong is not repeated: a URL may hold a password. */
static int set_url(CURLU *url, const char *text, struct error *err)
{
    CURLUcode rc = curl_url_set(url, CURLUPART_URL, text, 0);
    if (rc == CURLUE_OUT_OF_MEMORY)
        return error_set(err, ERR_NOMEM, "URL of %zu octets", strlen(text));
    if (rc != CURLUE_OK)
        return error_set(err, ERR_INVALID, "no URL: %s", curl_url_strerror(rc));
    if (!is_allowed(url))
        return error_set(err, ERR_INVALID, "write https://; http:// is for loopback addresses");
    return 0;
}

/* --- what comes ---------------------------------------------------------------------------- */

/* The value of a Retry-After (RFC 9110, 10.2.3), from `now_s` on; -1: neither of its forms. */
static int64_t retry_after_ms(const char *value, int64_t now_s)
{
    size_t n_digits = strspn(value, "0123456789");
    int64_t s = 0;
    if (n_digits > 0 && value[n_digits] == '\0') {
        s = n_digits > 9 ? RETRY_AFTER_MAX_S : strtol(value, NULL, 10);
    } else {
        time_t at = curl_getdate(value, NULL);
        if (n_digits > 0 || at == -1)
            return -1;
        s = at - now_s;
    }
    return 1000 * (s < 0 ? 0 : s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S);
}

/* One line, with its end. */
static void note_header(struct http_exchange *e, const char *line, size_t len)
{
    static const char name[] = "retry-after:";
    char value[64];
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0)
        e->retry_after_ms = -1; /* what came before was a 1xx */
    if (len < sizeof(name) - 1 || strncasecmp(line, name, sizeof(name) - 1) != 0)
        return;
    line += sizeof(name) - 1;
    len -= sizeof(name) - 1;
    while (len > 0 && (*line == ' ' || *line == '\t'))
        line++, len--;
    while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL)
        len--;
    if (len >= sizeof(value))
        return;
    memcpy(value, line, len);
    value[len] = '\0';
    e->retry_after_ms = retry_after_ms(value, clock_wall_ms() / 1000);
}

/* A number other than `len` ends the transfer. */
static size_t on_header(char *line, size_t size, size_t len, void *arg)
{
    struct http_exchange *e = arg;
    e->headers_len += len;
    e->too_large = e->headers_len > HEADERS_MAX;
    if (!e->too_large)
        note_header(e, line, len);
    return e->too_large ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t len, void *arg)
{
    struct http_exchange *e = arg;
    e->too_large = len > e->body_max - e->body_len;
    if (e->too_large)
        return 0;
    memcpy(e->body + e->body_len, data, len);
    e->body_len += len;
    return len;
}

/* --- how it ended -------------------------------------------------------------------------- */

static enum error_code certificate_code(CURL *easy)
{
    long verdict = X509_V_OK;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
    switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return ERR_CERTIFICATE_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return ERR_CERTIFICATE_NOT_YET_VALID;
    case X509_V_ERR_UNSPECIFIED: /* libcurl's first value: the chain was good, it got to the name */
        return ERR_CERTIFICATE_NAME_MISMATCH;
    default:
        return ERR_CERTIFICATE_UNTRUSTED;
    }
}

static enum error_code connect_code(CURL *easy)
{
    long os_error = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
    return os_error == ECONNREFUSED ? ERR_CONNECT_REFUSED : ERR_CONNECT_FAILED;
}

/* Before anything of the request went out: then it was the proxy that said no, or left. */
static enum error_code lost_code(const struct http_exchange *e)
{
    curl_off_t sent_us = 0;
    curl_easy_getinfo(e->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    return e->client->proxy != NULL && sent_us == 0 ? ERR_PROXY_FAILED : ERR_CONNECTION_LOST;
}

/* With a default: libcurl's hundred codes are mostly those of other protocols. */
static enum error_code error_code_of(const struct http_exchange *e, CURLcode rc)
{
    if (e->too_large || rc == CURLE_FILESIZE_EXCEEDED)
        return ERR_TOO_LARGE;
    switch ((int)rc) {
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
        return ERR_DNS_FAILED;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return ERR_PROXY_FAILED;
    case CURLE_COULDNT_CONNECT:
        return connect_code(e->easy);
    case CURLE_PEER_FAILED_VERIFICATION:
        return certificate_code(e->easy);
    case CURLE_SSL_CONNECT_ERROR:
        return ERR_TLS_FAILED;
    case CURLE_SSL_CACERT_BADFILE:
        return ERR_CONFIG;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
        return lost_code(e);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: anything at all */
        return ERR_PROTOCOL;
    default:
        return ERR_CONNECT_FAILED;
    }
}

/* --- the exchange -------------------------------------------------------------------------- */

static void wipe_headers(struct curl_slist *headers)
{
    for (struct curl_slist *h = headers; h != NULL; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(headers);
}

static void unref_trust(void *made);

static void exchange_free(struct http_exchange *e)
{
    if (e->easy != NULL)
        curl_easy_cleanup(e->easy);
    if (e->trust != NULL)
        unref_trust(e->trust);
    curl_url_cleanup(e->url);
    wipe_headers(e->headers);
    if (e->body != NULL)
        explicit_bzero(e->body, e->body_len);
    free(e->body);
    free(e);
}

/* Neither libcurl nor the client knows it any more. */
static void take_out(struct http_client *client, struct http_exchange *e)
{
    struct http_exchange **at = &client->exchanges;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    curl_multi_remove_handle(client->multi, e->easy);
}

static void end_with(struct http_client *client, struct http_exchange *e, const struct error *why)
{
    take_out(client, e);
    e->done(e->arg, NULL, why);
    exchange_free(e);
}

static void finish(struct http_client *client, struct http_exchange *e, CURLcode rc)
{
    struct error why = {0};
    long status = 0;
    if (rc != CURLE_OK) {
        error_set(&why, error_code_of(e, rc), "%s",
                  e->too_large        ? "the answer is too large"
                  : e->why[0] != '\0' ? e->why
                                      : curl_easy_strerror(rc));
        end_with(client, e, &why);
        return;
    }
    curl_easy_getinfo(e->easy, CURLINFO_RESPONSE_CODE, &status);
    const struct http_response response = {.status = (int)status,
                                           .body = e->body,
                                           .body_len = e->body_len,
                                           .retry_after_ms = e->retry_after_ms};
    take_out(client, e);
    e->done(e->arg, &response, NULL);
    exchange_free(e);
}

static void end_all(struct http_client *client, enum error_code code, const char *detail)
{
    struct error why = {0};
    error_set(&why, code, "%s", detail);
    while (client->exchanges != NULL)
        end_with(client, client->exchanges, &why);
}

/* --- deadlines ----------------------------------------------------------------------------- */

/*
 * libcurl would judge its own timeout before it reads. A process that was frozen would throw the
 * answer away that waits in its socket, and with it a refresh token that was rotated. So from the
 * request on the deadline is ours. It is judged after one more turn of the loop, and after each
 * further one that brought octets.
 */
static bool is_late(struct http_exchange *e, int64_t now_ms)
{
    size_t n_octets = e->headers_len + e->body_len;
    if (e->refused.code != ERR_NONE || now_ms < e->deadline_ms)
        return false;
    bool waits =
        e->n_late_turns == 0 || (n_octets > e->n_late_octets && e->n_late_turns < LATE_TURNS_MAX);
    e->n_late_turns++;
    e->n_late_octets = n_octets;
    return !waits;
}

static void on_deadline(uv_timer_t *timer);

static void await_deadline(struct http_client *client)
{
    int64_t next_ms = INT64_MAX, now_ms = clock_mono_ms();
    for (const struct http_exchange *e = client->exchanges; e != NULL; e = e->next)
        if (e->refused.code == ERR_NONE && e->deadline_ms < next_ms)
            next_ms = e->deadline_ms;
    if (next_ms == INT64_MAX)
        uv_timer_stop(&client->deadline);
    else /* at least 1 ms, or libuv runs it again before it looks at sockets */
        uv_timer_start(&client->deadline, on_deadline,
                       next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 1, 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    struct http_exchange *e = client->exchanges;
    int64_t now_ms = clock_mono_ms();
    struct error why;
    while (e != NULL && !is_late(e, now_ms))
        e = e->next;
    await_deadline(client); /* for the next; this one may free the client */
    if (e == NULL)
        return;
    error_set(&why, ERR_TIMEOUT, "no whole answer within %lld ms", (long long)e->timeout_ms);
    end_with(client, e, &why);
}

/* --- libcurl on the loop ------------------------------------------------------------------- */

static bool is_closing(const struct http_client *client)
{
    return uv_is_closing((const uv_handle_t *)&client->timer);
}

/* One at a time: what is told may cancel the next, or free the client. */
static void tell_finished(struct http_client *client)
{
    CURLMsg *message;
    int n_left;
    while (client->multi != NULL &&
           (message = curl_multi_info_read(client->multi, &n_left)) != NULL) {
        struct http_exchange *e = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &e);
        finish(client, e, message->data.result);
    }
}

/* If it fails, a callback of ours had no memory; libcurl then does nothing more for any of them. */
static void act(struct http_client *client, curl_socket_t fd, int events)
{
    int n_running;
    if (client->multi == NULL)
        return;
    if (curl_multi_socket_action(client->multi, fd, events, &n_running) != CURLM_OK)
        end_all(client, ERR_NOMEM, "no memory to go on");
    tell_finished(client);
}

static void on_timeout(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_client *client = arg;
    if (timeout_ms < 0 || is_closing(client))
        return uv_timer_stop(&client->timer) < 0 ? -1 : 0;
    return uv_timer_start(&client->timer, on_timeout, (uint64_t)timeout_ms, 0) < 0 ? -1 : 0;
}

/* libcurl owns the socket, we only look at it. */
struct watch {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void watch_close(struct watch *watch)
{
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *watch_new(struct http_client *client, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    if (uv_poll_init(client->loop, &watch->poll, fd) < 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->client = client;
    watch->fd = fd;
    return watch;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    const struct watch *watch = poll->data;
    int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    act(watch->client, watch->fd, status < 0 ? CURL_CSELECT_ERR : flags);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *client = arg;
    struct watch *watch = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            watch_close(watch);
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    if (watch == NULL) {
        watch = watch_new(client, fd);
        if (watch == NULL)
            return -1;
        curl_multi_assign(client->multi, fd, watch);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&watch->poll, events, on_poll) < 0 ? -1 : 0;
}

/* --- whom to trust ------------------------------------------------------------------------- */

static struct trust *trust_new(void)
{
    struct trust *trust = calloc(1, sizeof(*trust));
    if (trust != NULL)
        trust->holders = 1;
    return trust;
}

static void ref_trust(void *made)
{
    atomic_fetch_add(&((struct trust *)made)->holders, 1);
}

static void unref_trust(void *made)
{
    struct trust *trust = made;
    if (atomic_fetch_sub(&trust->holders, 1) > 1)
        return;
    X509_STORE_free(trust->store);
    free(trust);
}

/* Its recipe is the path, or "": the system's. */
static int load_trust(const void *recipe, struct reload_notes *notes, void **made_out,
                      struct error *err)
{
    const char *path = recipe;
    struct error why;
    struct trust *trust = trust_new();
    if (trust == NULL)
        return error_set(err, ERR_NOMEM, "certificate authorities");
    if (authorities_load(path[0] != '\0' ? path : NULL, notes, &trust->store, &why) < 0)
        error_set(&trust->why, why.code, "ca_file %s: %s", path, why.detail);
    *made_out = trust;
    return 0;
}

int http_trust_new(const char *ca_file, struct reload **trust_out, struct error *err)
{
    static const struct reload_kind kind = {
        .load = load_trust, .ref = ref_trust, .unref = unref_trust, .drop = free};
    struct trust *trust = trust_new();
    char *path = strdup(ca_file != NULL ? ca_file : "");
    if (trust == NULL || path == NULL) {
        free(trust);
        free(path);
        return error_set(err, ERR_NOMEM, "certificate authorities");
    }
    error_set(&trust->why, ERR_CONFIG, "the certificate authorities were not read yet");
    return reload_new(&kind, path, trust, NULL, trust_out, err);
}

/* In place of files that libcurl would read on the loop, and trust for a day. */
static CURLcode on_context(CURL *easy, void *ctx, void *arg)
{
    const struct http_exchange *e = arg;
    SSL_CTX_set1_cert_store(ctx, e->trust->store);
    return CURLE_OK;
}

/* --- the client ---------------------------------------------------------------------------- */

static void init_libcurl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void client_free(struct http_client *client)
{
    if (client->proxy != NULL)
        explicit_bzero(client->proxy, strlen(client->proxy));
    free(client->proxy);
    reload_free(client->own_trust);
    free(client);
}

/* Names are the proxy's to resolve, as on the way to a relay; libcurl's word for that is socks5h.
 */
static char *copy_proxy(const char *proxy)
{
    bool socks = strncasecmp(proxy, "socks5://", 9) == 0;
    size_t size = strlen(proxy) + sizeof("h");
    char *copy = malloc(size);
    if (copy != NULL)
        snprintf(copy, size, "%s%s", socks ? "socks5h" : "",
                 proxy + (socks ? strlen("socks5") : 0));
    return copy;
}

static int copy_settings(struct http_client *client, const struct http_settings *settings)
{
    if (settings->trust == NULL) {
        if (http_trust_new(settings->ca_file, &client->own_trust, NULL) < 0)
            return -1;
        reload_look(client->own_trust);
    }
    client->trust = settings->trust != NULL ? settings->trust : client->own_trust;
    if (settings->proxy != NULL && (client->proxy = copy_proxy(settings->proxy)) == NULL)
        return -1;
    client->multi = curl_multi_init();
    return client->multi != NULL ? 0 : -1;
}

static void attach(struct http_client *client)
{
    uv_timer_init(client->loop, &client->timer);
    uv_timer_init(client->loop, &client->late);
    uv_timer_init(client->loop, &client->deadline);
    client->timer.data = client->late.data = client->deadline.data = client;
    client->n_handles = 3;
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
}

int http_client_new(uv_loop_t *loop, const struct http_settings *settings,
                    struct http_client **client_out, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_libcurl);
    struct http_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return error_set(err, ERR_NOMEM, "HTTP client");
    client->loop = loop;
    if (copy_settings(client, settings) < 0) {
        client_free(client);
        return error_set(err, ERR_NOMEM, "HTTP client");
    }
    attach(client);
    *client_out = client;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;
    if (--client->n_handles == 0)
        client_free(client);
}

void http_client_free(struct http_client *client)
{
    if (client == NULL || is_closing(client))
        return;
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->late, on_handle_closed);
    uv_close((uv_handle_t *)&client->deadline, on_handle_closed);
    end_all(client, ERR_CONNECTION_LOST, "we are closing");
    curl_multi_cleanup(client->multi);
    client->multi = NULL;
}

/* --- a request ----------------------------------------------------------------------------- */

/* RFC 9110, 5.6.2 and 5.5. A line end would begin another header, or the body. */
static bool is_header(const struct http_header *header)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (header->name[0] == '\0' || header->name[strspn(header->name, token)] != '\0')
        return false;
    for (const char *c = header->value; *c != '\0'; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

static int append_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer == NULL)
        return -1;
    *list = longer;
    return 0;
}

/* "Name;" is how libcurl wants one without a value; "Name:" would leave it out. */
static int append_header(struct curl_slist **list, const struct http_header *header)
{
    size_t size = strlen(header->name) + strlen(header->value) + sizeof(": ");
    char *line = malloc(size);
    if (line == NULL)
        return -1;
    if (header->value[0] == '\0')
        snprintf(line, size, "%s;", header->name);
    else
        snprintf(line, size, "%s: %s", header->name, header->value);
    int rc = append_line(list, line);
    explicit_bzero(line, size);
    free(line);
    return rc;
}

static bool is_get(const struct http_request *request)
{
    return strcmp(request->method, "GET") == 0;
}

static int check_request(struct http_exchange *e, const struct http_request *request,
                         struct error *err)
{
    for (size_t i = 0; i < request->n_headers; i++)
        if (!is_header(&request->headers[i]))
            return error_set(err, ERR_INVALID, "a header that is none");
    if (!is_get(request) && strcmp(request->method, "POST") != 0 &&
        strcmp(request->method, "PUT") != 0)
        return error_set(err, ERR_INVALID, "method %s", request->method);
    return set_url(e->url, request->url, err);
}

static int set_headers(struct http_exchange *e, const struct http_request *request)
{
    for (size_t i = 0; i < request->n_headers; i++)
        if (append_header(&e->headers, &request->headers[i]) < 0)
            return -1;
    if (append_line(&e->headers, "Expect:") < 0) /* no round trip to ask whether it may */
        return -1;
    return curl_easy_setopt(e->easy, CURLOPT_HTTPHEADER, e->headers) == CURLE_OK ? 0 : -1;
}

static int set_numbers(CURL *easy, const struct http_request *request)
{
    const struct {
        CURLoption option;
        long value;
    } options[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FOLLOWLOCATION, 0}, /* a redirect would carry our secrets elsewhere */
        {CURLOPT_NETRC, CURL_NETRC_IGNORED},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1}, /* less to go wrong, and enough for us */
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2}, /* at least */
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
        {CURLOPT_SSL_SESSIONID_CACHE, 0}, /* whom we trusted then may not be trusted now */
        {CURLOPT_QUICK_EXIT, 1},          /* a cancelled one does not wait for its name's lookup */
        {CURLOPT_FRESH_CONNECT, request->once},
        {CURLOPT_FORBID_REUSE, request->once},
        {CURLOPT_CONNECTTIMEOUT_MS, (long)request->timeout_ms},
        {is_get(request) ? CURLOPT_HTTPGET : CURLOPT_POST, 1},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (curl_easy_setopt(easy, options[i].option, options[i].value) != CURLE_OK)
            return -1;
    return 0;
}

/* What libcurl would trust by itself is not. What the environment says of proxies is not asked. In
 * the clear we talk to this machine only, so through no proxy. */
static int set_way(const struct http_exchange *e)
{
    const struct http_client *client = e->client;
    char *scheme = NULL;
    if (curl_url_get(e->url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return -1;
    bool direct = client->proxy == NULL || strcmp(scheme, "http") == 0;
    CURLcode rc = curl_easy_setopt(e->easy, CURLOPT_PROTOCOLS_STR, scheme);
    curl_free(scheme);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e->easy, CURLOPT_PROXY, direct ? "" : client->proxy);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e->easy, CURLOPT_NOPROXY, "");
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e->easy, CURLOPT_USERAGENT, "postern/" POSTERN_VERSION);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e->easy, CURLOPT_CAINFO, NULL);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e->easy, CURLOPT_CAPATH, NULL);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e->easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
    return rc == CURLE_OK ? 0 : -1;
}

/* To libcurl a PUT with a body in memory is a POST by another name. */
static int set_method(const struct http_exchange *e, const struct http_request *request)
{
    return curl_easy_setopt(e->easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK ? 0 : -1;
}

/* Those that only store a pointer or a number, and so cannot fail. */
static void set_pointers(struct http_exchange *e, const struct http_request *request)
{
    curl_easy_setopt(e->easy, CURLOPT_PRIVATE, e);
    curl_easy_setopt(e->easy, CURLOPT_SSL_CTX_DATA, e);
    curl_easy_setopt(e->easy, CURLOPT_ERRORBUFFER, e->why);
    curl_easy_setopt(e->easy, CURLOPT_CURLU, e->url);
    curl_easy_setopt(e->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e->easy, CURLOPT_HEADERDATA, e);
    curl_easy_setopt(e->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e->easy, CURLOPT_WRITEDATA, e);
    curl_easy_setopt(e->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)e->body_max);
    if (!is_get(request)) {
        bool empty = request->body == NULL;
        curl_easy_setopt(e->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)(empty ? 0 : request->body_len));
        curl_easy_setopt(e->easy, CURLOPT_POSTFIELDS, empty ? "" : request->body);
    }
}

static int prepare(struct http_exchange *e, const struct http_request *request)
{
    if (set_numbers(e->easy, request) < 0 || set_method(e, request) < 0 ||
        set_headers(e, request) < 0 || set_way(e) < 0)
        return -1;
    set_pointers(e, request);
    return curl_multi_add_handle(e->client->multi, e->easy) == CURLM_OK ? 0 : -1;
}

static struct http_exchange *exchange_new(struct http_client *client, size_t body_max)
{
    struct http_exchange *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    e->client = client;
    e->retry_after_ms = -1;
    e->easy = curl_easy_init();
    e->url = curl_url();
    e->body = malloc(body_max + 1);
    e->body_max = body_max;
    if (e->easy != NULL && e->url != NULL && e->body != NULL)
        return e;
    exchange_free(e);
    return NULL;
}

/* In the clear nobody is asked for a certificate. */
static int check_trust(const struct http_exchange *e, struct error *err)
{
    char *scheme = NULL;
    bool clear = curl_url_get(e->url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                 strcmp(scheme, "http") == 0;
    curl_free(scheme);
    return clear || e->trust->store != NULL
               ? 0
               : error_set(err, e->trust->why.code, "%s", e->trust->why.detail);
}

static void on_late(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    struct http_exchange *e = client->exchanges;
    while (e != NULL && e->refused.code == ERR_NONE)
        e = e->next;
    if (e == NULL)
        return;
    uv_timer_start(&client->late, on_late, 0, 0); /* for the next; this one may free the client */
    const struct error why = e->refused;
    end_with(client, e, &why);
}

struct http_exchange *http_start(struct http_client *client, const struct http_request *request,
                                 http_done_fn *done, void *arg)
{
    assert(request->timeout_ms > 0);
    if (is_closing(client))
        return NULL;
    struct http_exchange *e = exchange_new(client, request->response_max);
    if (e == NULL)
        return NULL;
    e->done = done;
    e->arg = arg;
    e->trust = reload_take(client->trust);
    if (check_request(e, request, &e->refused) < 0 || check_trust(e, &e->refused) < 0) {
        uv_timer_start(&client->late, on_late, 0, 0);
    } else if (prepare(e, request) < 0) {
        exchange_free(e);
        return NULL;
    }
    e->timeout_ms = request->timeout_ms;
    e->deadline_ms = clock_mono_ms() + request->timeout_ms;
    e->next = client->exchanges;
    client->exchanges = e;
    await_deadline(client);
    return e;
}

void http_cancel(struct http_exchange *e)
{
    take_out(e->client, e);
    exchange_free(e);
}
