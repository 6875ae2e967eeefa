#include "sandbox/sandbox.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/id.h"
#include "sandbox/mime.h"
#include "sandbox/receiver.h"

enum { BACKLOG = 128, SLOW_MS = 5000, DEFERS = 2, STEERED_MAX = 1024, MESSAGE_ID_MAX = 128 };

struct kept {          /* one message that arrived */
    struct kept *next; /* older */
    char id[ID_SIZE];
    int64_t at_ms;
    json_t *envelope;
    size_t len;
    char content[];
};

struct steered { /* how often a message was turned away, by Message-ID and recipient */
    char key[MESSAGE_ID_MAX];
    unsigned n;
};

struct sandbox {
    struct sandbox_settings settings;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t stop;
    pthread_t thread;
    uint16_t port;
    struct steered steered[STEERED_MAX]; /* a ring: what is forgotten starts anew */
    size_t next_steered;
    pthread_mutex_t lock; /* guards what is kept */
    struct kept *newest;
    size_t n_kept;
    uint64_t kept_bytes;
};

struct client {
    struct sandbox *sandbox;
    struct receiver *receiver;
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct buffer waiting; /* read while a slow reply is due */
    int n_open;
    char in[16384];
};

/* --- keeping ------------------------------------------------------------------------------ */

static void free_kept(struct kept *kept)
{
    json_decref(kept->envelope);
    free(kept);
}

/* With the lock held. */
static void forget_oldest(struct sandbox *sandbox)
{
    struct kept **at = &sandbox->newest;
    while ((*at)->next != NULL)
        at = &(*at)->next;
    sandbox->kept_bytes -= (*at)->len;
    sandbox->n_kept--;
    free_kept(*at);
    *at = NULL;
}

static void keep(struct sandbox *sandbox, const struct receiver_mail *mail)
{
    struct kept *kept = malloc(sizeof(*kept) + mail->content_len);
    json_t *to = json_array();
    for (size_t i = 0; i < mail->n_to; i++)
        json_array_append_new(to, json_string(mail->to[i]));
    json_t *envelope = json_pack("{s:s?, s:o}", "from", mail->from, "to", to);
    if (kept == NULL || envelope == NULL) {
        free(kept);
        json_decref(envelope);
        return;
    }
    *kept = (struct kept){.at_ms = clock_wall_ms(), .envelope = envelope, .len = mail->content_len};
    id_new(kept->at_ms, kept->id);
    memcpy(kept->content, mail->content, mail->content_len);
    pthread_mutex_lock(&sandbox->lock);
    kept->next = sandbox->newest;
    sandbox->newest = kept;
    sandbox->n_kept++;
    sandbox->kept_bytes += kept->len;
    while (sandbox->n_kept > 1 && (sandbox->n_kept > sandbox->settings.max_messages ||
                                   sandbox->kept_bytes > sandbox->settings.max_bytes))
        forget_oldest(sandbox);
    pthread_mutex_unlock(&sandbox->lock);
}

/* --- steering ----------------------------------------------------------------------------- */

static bool is_steered(const char *address, const char *local)
{
    size_t n = strlen(local);
    return strncasecmp(address, local, n) == 0 && strcasecmp(address + n, "@sandbox.test") == 0;
}

static const char *on_recipient(void *arg, const char *address)
{
    if (is_steered(address, "bounce"))
        return "550 5.1.1 No such user here: bounce@sandbox.test always refuses";
    if (is_steered(address, "throttle"))
        return "432 4.3.2 Too many messages: throttle@sandbox.test always says so";
    return NULL;
}

/* Counts this message's visits to this recipient. */
static unsigned count_visit(struct sandbox *sandbox, const struct receiver_mail *mail,
                            const char *recipient)
{
    char key[MESSAGE_ID_MAX];
    const char *at = memmem(mail->content, mail->content_len, "\nMessage-ID:", 12);
    size_t n = at != NULL ? strcspn(at + 12, "\r\n") : 0;
    snprintf(key, sizeof(key), "%.*s %s", (int)(n < 90 ? n : 90), at != NULL ? at + 12 : "",
             recipient);
    for (size_t i = 0; i < STEERED_MAX; i++)
        if (strcmp(sandbox->steered[i].key, key) == 0)
            return ++sandbox->steered[i].n;
    struct steered *fresh = &sandbox->steered[sandbox->next_steered++ % STEERED_MAX];
    memcpy(fresh->key, key, sizeof(key));
    return fresh->n = 1;
}

static struct receiver_verdict on_mail(void *arg, const struct receiver_mail *mail)
{
    struct sandbox *sandbox = arg;
    struct receiver_verdict verdict = {.reply = "250 2.0.0 Ok: kept in the sandbox", .keep = true};
    for (size_t i = 0; i < mail->n_to; i++) {
        if (is_steered(mail->to[i], "slow"))
            verdict.delay_ms = SLOW_MS;
        if (is_steered(mail->to[i], "defer") && count_visit(sandbox, mail, "defer") <= DEFERS) {
            verdict.reply = "451 4.3.0 Try again: defer@sandbox.test refuses twice";
            verdict.keep = false;
        }
        if (is_steered(mail->to[i], "drop") && count_visit(sandbox, mail, "drop") == 1)
            verdict.drop = true; /* kept all the same: so one sees what a duplicate is */
    }
    if (verdict.keep)
        keep(sandbox, mail);
    return verdict;
}

/* --- sockets ------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    if (--client->n_open > 0)
        return;
    receiver_free(client->receiver);
    buffer_clear(&client->waiting);
    free(client);
}

static void close_client(struct client *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    uv_close((uv_handle_t *)&client->tcp, on_closed);
    uv_close((uv_handle_t *)&client->timer, on_closed);
}

struct write {
    uv_write_t request;
    struct client *client;
    bool last;
    char data[];
};

static void on_written(uv_write_t *request, int status)
{
    struct write *write = (struct write *)request;
    if (status < 0 || write->last)
        close_client(write->client);
    free(write);
}

static void send_out(struct client *client)
{
    struct buffer *out = receiver_out(client->receiver);
    bool over = receiver_over(client->receiver);
    if (out->len == 0 || uv_is_closing((uv_handle_t *)&client->tcp)) {
        if (over)
            close_client(client);
        return;
    }
    struct write *write = malloc(sizeof(*write) + out->len);
    uv_buf_t buf;
    if (write == NULL) {
        close_client(client);
        return;
    }
    write->client = client;
    write->last = over;
    memcpy(write->data, out->data, out->len);
    buf = uv_buf_init(write->data, (unsigned)out->len);
    buffer_reset(out);
    if (uv_write(&write->request, (uv_stream_t *)&client->tcp, &buf, 1, on_written) < 0) {
        free(write);
        close_client(client);
    }
}

static void on_timer(uv_timer_t *timer);

/* What comes while a reply is delayed waits. */
static void take(struct client *client, const char *data, size_t len)
{
    size_t used = receiver_feed(client->receiver, data, len);
    if (used < len && !receiver_over(client->receiver) &&
        buffer_append(&client->waiting, data + used, len - used) < 0) {
        close_client(client);
        return;
    }
    int64_t delay_ms = receiver_delay_ms(client->receiver);
    if (delay_ms > 0 && !uv_is_active((uv_handle_t *)&client->timer))
        uv_timer_start(&client->timer, on_timer, (uint64_t)delay_ms, 0);
    send_out(client);
}

static void on_timer(uv_timer_t *timer)
{
    struct client *client = timer->data;
    struct buffer waiting = client->waiting;
    buffer_init(&client->waiting, waiting.limit);
    receiver_resume(client->receiver);
    take(client, waiting.data != NULL ? waiting.data : "", waiting.len);
    buffer_clear(&waiting);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct client *client = handle->data;
    *buf = uv_buf_init(client->in, sizeof(client->in));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    if (n < 0)
        close_client(client);
    else if (n > 0)
        take(client, buf->base, (size_t)n);
}

static void on_connect(uv_stream_t *listener, int status)
{
    struct sandbox *sandbox = listener->data;
    struct client *client = status < 0 ? NULL : calloc(1, sizeof(*client));
    if (client == NULL)
        return;
    const struct receiver_owner owner = {on_recipient, on_mail, sandbox};
    client->sandbox = sandbox;
    client->n_open = 2;
    buffer_init(&client->waiting, 1 << 20);
    uv_tcp_init(&sandbox->loop, &client->tcp);
    uv_timer_init(&sandbox->loop, &client->timer);
    client->tcp.data = client->timer.data = client;
    client->receiver = receiver_new(&owner);
    if (client->receiver == NULL || uv_accept(listener, (uv_stream_t *)&client->tcp) < 0) {
        close_client(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    send_out(client);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

/* --- start and end ------------------------------------------------------------------------ */

static void close_any(uv_handle_t *handle, void *arg)
{
    struct sandbox *sandbox = arg;
    bool ours =
        handle == (uv_handle_t *)&sandbox->listener || handle == (uv_handle_t *)&sandbox->stop;
    if (uv_is_closing(handle))
        return;
    if (ours)
        uv_close(handle, NULL);
    else
        close_client(handle->data);
}

static void on_stop(uv_async_t *stop)
{
    uv_walk(stop->loop, close_any, stop->data);
}

static void *run(void *arg)
{
    struct sandbox *sandbox = arg;
    uv_run(&sandbox->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int start_listening(struct sandbox *sandbox)
{
    struct sockaddr_in address;
    int len = sizeof(address);
    uv_ip4_addr("127.0.0.1", sandbox->settings.port, &address);
    int rc = uv_tcp_bind(&sandbox->listener, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&sandbox->listener, BACKLOG, on_connect);
    if (rc == 0)
        rc = uv_tcp_getsockname(&sandbox->listener, (struct sockaddr *)&address, &len);
    sandbox->port = ntohs(address.sin_port);
    return rc;
}

int sandbox_start(const struct sandbox_settings *settings, struct sandbox **sandbox_out,
                  struct error *err)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
    if (sandbox == NULL)
        return error_set(err, ERR_NOMEM, "sandbox");
    sandbox->settings = *settings;
    pthread_mutex_init(&sandbox->lock, NULL);
    int rc = uv_loop_init(&sandbox->loop);
    if (rc < 0) {
        free(sandbox);
        return error_set(err, ERR_IO, "sandbox: %s", uv_strerror(rc));
    }
    uv_tcp_init(&sandbox->loop, &sandbox->listener);
    uv_async_init(&sandbox->loop, &sandbox->stop, on_stop);
    sandbox->listener.data = sandbox->stop.data = sandbox;
    rc = start_listening(sandbox);
    if (rc == 0 && pthread_create(&sandbox->thread, NULL, run, sandbox) == 0) {
        *sandbox_out = sandbox;
        return 0;
    }
    on_stop(&sandbox->stop);
    uv_run(&sandbox->loop, UV_RUN_DEFAULT);
    uv_loop_close(&sandbox->loop);
    free(sandbox);
    return error_set(err, ERR_IO, "sandbox: %s", rc < 0 ? uv_strerror(rc) : "no thread to be had");
}

uint16_t sandbox_port(const struct sandbox *sandbox)
{
    return sandbox->port;
}

void sandbox_stop(struct sandbox *sandbox)
{
    if (sandbox == NULL)
        return;
    uv_async_send(&sandbox->stop);
    pthread_join(sandbox->thread, NULL);
    uv_loop_close(&sandbox->loop);
    sandbox_delete_all(sandbox);
    pthread_mutex_destroy(&sandbox->lock);
    free(sandbox);
}

/* --- looking ------------------------------------------------------------------------------ */

static json_t *describe(const struct kept *kept, json_t *parsed)
{
    char at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(kept->at_ms, at);
    json_t *json = json_pack("{s:s, s:s, s:O, s:I}", "id", kept->id, "received_at", at, "envelope",
                             kept->envelope, "size", (json_int_t)kept->len);
    json_object_update(json, parsed);
    json_decref(parsed);
    return json;
}

json_t *sandbox_list(struct sandbox *sandbox)
{
    json_t *list = json_array();
    pthread_mutex_lock(&sandbox->lock);
    for (const struct kept *kept = sandbox->newest; kept != NULL; kept = kept->next) {
        json_t *parsed = mime_parse(kept->content, kept->len);
        json_object_del(parsed, "headers");
        json_array_append_new(list, describe(kept, parsed));
    }
    pthread_mutex_unlock(&sandbox->lock);
    return list;
}

static const struct kept *find(const struct sandbox *sandbox, const char *id)
{
    const struct kept *kept = sandbox->newest;
    while (kept != NULL && strcmp(kept->id, id) != 0)
        kept = kept->next;
    return kept;
}

json_t *sandbox_get(struct sandbox *sandbox, const char *id)
{
    pthread_mutex_lock(&sandbox->lock);
    const struct kept *kept = find(sandbox, id);
    json_t *json = kept != NULL ? describe(kept, mime_parse(kept->content, kept->len)) : NULL;
    if (json != NULL) {
        json_t *raw = json_stringn(kept->content, kept->len); /* NULL: not UTF-8; see /raw */
        json_object_set_new(json, "raw", raw != NULL ? raw : json_null());
    }
    pthread_mutex_unlock(&sandbox->lock);
    return json;
}

char *sandbox_raw(struct sandbox *sandbox, const char *id, size_t *len_out)
{
    pthread_mutex_lock(&sandbox->lock);
    const struct kept *kept = find(sandbox, id);
    char *raw = kept != NULL ? malloc(kept->len + 1) : NULL;
    if (raw != NULL) {
        memcpy(raw, kept->content, kept->len);
        *len_out = kept->len;
    }
    pthread_mutex_unlock(&sandbox->lock);
    return raw;
}

size_t sandbox_delete_all(struct sandbox *sandbox)
{
    pthread_mutex_lock(&sandbox->lock);
    struct kept *all = sandbox->newest;
    size_t n = sandbox->n_kept;
    sandbox->newest = NULL;
    sandbox->n_kept = 0;
    sandbox->kept_bytes = 0;
    pthread_mutex_unlock(&sandbox->lock);
    for (struct kept *next; all != NULL; all = next) {
        next = all->next;
        free_kept(all);
    }
    return n;
}
