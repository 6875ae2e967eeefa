#include "sandbox/sandbox.h"

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/thread.h"
#include "sandbox/mailbox.h"
#include "sandbox/mime.h"
#include "sandbox/receiver.h"
#include "sandbox/steering.h"

enum {
    BACKLOG = 128,
    MAX_CLIENTS = 256,
    IDLE_MS = 5 * 60 * 1000,
    RETRY_MS = 100,
    IN_SIZE = 64 * 1024,
    INTAKE_MAX = 256 << 20, /* octets of contents that are on their way in, of all clients */
};

struct sandbox {
    struct sandbox_settings settings;
    struct mailbox *mailbox; /* has a lock of its own; all else is the thread's once it runs */
    struct steering *steering;
    struct receiver_budget budget;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t retry; /* without memory for a client: libuv waits until it is accepted */
    uv_async_t stop;
    pthread_t thread;
    uint16_t port;
    size_t n_clients;
};

/*
 * One connection. It reads, answers, and reads on: never while a write is under way or a reply is
 * delayed. So a client that asks without listening fills its own socket and not our memory.
 */
struct client {
    struct sandbox *sandbox;
    struct receiver *receiver;
    uv_tcp_t tcp;
    uv_timer_t timer; /* until it was idle too long, or until a delayed reply is due */
    uv_write_t write;
    struct buffer writing; /* what `write` sends; empty: no write is under way */
    int n_open;            /* handles */
    size_t in_at, in_len;  /* of `in`, not yet fed */
    char in[IN_SIZE];
};

/* --- what the receiver asks --------------------------------------------------------------- */

static const char *on_recipient(void *arg, const char *address)
{
    return steering_on_recipient(address);
}

static struct receiver_verdict on_mail(void *arg, const struct receiver_mail *mail)
{
    struct sandbox *sandbox = arg;
    struct steering_verdict verdict = steering_on_mail(sandbox->steering, mail);
    if (verdict.keep &&
        mailbox_put(sandbox->mailbox, mail->from, mail->to, mail->n_to, mail->content) < 0)
        return (struct receiver_verdict){.reply = "451 4.3.0 Out of memory"};
    return verdict.receiver;
}

/* --- connections -------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    if (--client->n_open > 0)
        return;
    client->sandbox->n_clients--;
    receiver_free(client->receiver);
    buffer_clear(&client->writing);
    free(client);
}

static void close_client(struct client *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    uv_close((uv_handle_t *)&client->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
}

static void advance(struct client *client);

static void on_written(uv_write_t *write, int status)
{
    struct client *client = write->data;
    buffer_reset(&client->writing);
    if (status < 0)
        close_client(client);
    else
        advance(client);
}

/* Send what the receiver has to say. False: the client is closing, or a write is now under way. */
static bool flush(struct client *client)
{
    struct buffer *out = receiver_out(client->receiver);
    uv_buf_t buf = uv_buf_init(out->data, (unsigned)out->len);
    int sent = out->len > 0 ? uv_try_write((uv_stream_t *)&client->tcp, &buf, 1) : 0;
    if (sent < 0 && sent != UV_EAGAIN) {
        close_client(client);
        return false;
    }
    buffer_consume(out, sent > 0 ? (size_t)sent : 0);
    if (out->len == 0)
        return true;
    /* The two buffers change places: the receiver writes into the other meanwhile. */
    struct buffer full = *out;
    *out = client->writing;
    client->writing = full;
    buf = uv_buf_init(full.data, (unsigned)full.len);
    if (uv_write(&client->write, (uv_stream_t *)&client->tcp, &buf, 1, on_written) < 0)
        close_client(client);
    return false;
}

static void on_timer(uv_timer_t *timer)
{
    struct client *client = timer->data;
    static char late[] = "421 4.4.2 Idle for too long\r\n";
    uv_buf_t buf = uv_buf_init(late, sizeof(late) - 1);
    if (client->writing.len > 0) { /* it does not even read what it has already */
        close_client(client);
    } else if (receiver_delay_ms(client->receiver) > 0) {
        receiver_resume(client->receiver);
        advance(client);
    } else {
        uv_try_write((uv_stream_t *)&client->tcp, &buf, 1);
        close_client(client);
    }
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct client *client = handle->data;
    *buf = uv_buf_init(client->in, sizeof(client->in));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    if (n < 0) {
        close_client(client);
    } else if (n > 0) {
        client->in_at = 0;
        client->in_len = (size_t)n;
        advance(client);
    }
}

static void wait_ms(struct client *client, int64_t ms)
{
    uv_timer_start(&client->timer, on_timer, (uint64_t)ms, 0);
}

/* Feed and answer until all is read, and then read on; or until something else must happen first,
 * which then calls this again. */
static void advance(struct client *client)
{
    struct receiver *receiver = client->receiver;
    do {
        client->in_at +=
            receiver_feed(receiver, client->in + client->in_at, client->in_len - client->in_at);
        bool sent = flush(client);
        if (uv_is_closing((uv_handle_t *)&client->tcp))
            return;
        if (sent && receiver_over(receiver)) {
            close_client(client);
            return;
        }
        int64_t delay_ms = receiver_delay_ms(receiver);
        wait_ms(client, sent && delay_ms > 0 ? delay_ms : client->sandbox->settings.idle_ms);
        if (!sent || delay_ms > 0) {
            uv_read_stop((uv_stream_t *)&client->tcp);
            return;
        }
    } while (client->in_at < client->in_len);
    int rc = uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
    if (rc < 0 && rc != UV_EALREADY)
        close_client(client);
}

static struct client *client_new(struct sandbox *sandbox)
{
    const struct receiver_owner owner = {on_recipient, on_mail, sandbox, &sandbox->budget};
    struct client *client = malloc(sizeof(*client)); /* `in` needs no zeros */
    struct receiver *receiver = receiver_new(&owner);
    if (client == NULL || receiver == NULL) {
        free(client);
        receiver_free(receiver);
        return NULL;
    }
    client->sandbox = sandbox;
    client->receiver = receiver;
    client->n_open = 2;
    client->in_at = client->in_len = 0;
    buffer_init(&client->writing, receiver_out(receiver)->limit);
    uv_tcp_init(&sandbox->loop, &client->tcp);
    uv_timer_init(&sandbox->loop, &client->timer);
    client->tcp.data = client->timer.data = client->write.data = client;
    sandbox->n_clients++;
    return client;
}

static void on_connect(uv_stream_t *listener, int status);

static void on_retry(uv_timer_t *retry)
{
    struct sandbox *sandbox = retry->data;
    on_connect((uv_stream_t *)&sandbox->listener, 0);
}

static void on_connect(uv_stream_t *listener, int status)
{
    struct sandbox *sandbox = listener->data;
    static char full[] = "421 4.7.0 Too many connections\r\n";
    struct client *client = status == 0 ? client_new(sandbox) : NULL;
    if (client == NULL) {
        uv_timer_start(&sandbox->retry, on_retry, RETRY_MS, 0);
        return;
    }
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) < 0) {
        close_client(client);
        return;
    }
    if (sandbox->n_clients > sandbox->settings.max_clients) {
        uv_buf_t buf = uv_buf_init(full, sizeof(full) - 1);
        uv_try_write((uv_stream_t *)&client->tcp, &buf, 1);
        close_client(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    advance(client);
}

/* --- start and end ------------------------------------------------------------------------ */

static void close_handle(uv_handle_t *handle, void *arg)
{
    struct sandbox *sandbox = arg;
    if (uv_is_closing(handle))
        return;
    if (handle == (uv_handle_t *)&sandbox->listener || handle == (uv_handle_t *)&sandbox->retry ||
        handle == (uv_handle_t *)&sandbox->stop)
        uv_close(handle, NULL);
    else
        close_client(handle->data);
}

static void on_stop(uv_async_t *stop)
{
    uv_walk(stop->loop, close_handle, stop->data);
}

static void *run(void *arg)
{
    struct sandbox *sandbox = arg;
    sigset_t pipe; /* a client that went away is an error code here, and no signal */
    thread_name("sandbox");
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    uv_run(&sandbox->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int start_listening(struct sandbox *sandbox)
{
    struct sockaddr_in address;
    int len = sizeof(address);
    int rc = uv_ip4_addr("127.0.0.1", sandbox->settings.port, &address);
    if (rc == 0)
        rc = uv_tcp_bind(&sandbox->listener, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&sandbox->listener, BACKLOG, on_connect);
    if (rc == 0)
        rc = uv_tcp_getsockname(&sandbox->listener, (struct sockaddr *)&address, &len);
    if (rc == 0)
        sandbox->port = ntohs(address.sin_port);
    return rc;
}

/* The loop and its handles; on failure they are closed again. A uv error code. */
static int open_loop(struct sandbox *sandbox)
{
    int rc = uv_loop_init(&sandbox->loop);
    if (rc < 0)
        return rc;
    uv_tcp_init(&sandbox->loop, &sandbox->listener);
    uv_timer_init(&sandbox->loop, &sandbox->retry);
    sandbox->listener.data = sandbox->retry.data = sandbox->stop.data = sandbox;
    rc = start_listening(sandbox);
    if (rc == 0)
        rc = uv_async_init(&sandbox->loop, &sandbox->stop, on_stop);
    if (rc == 0)
        rc = -pthread_create(&sandbox->thread, NULL, run, sandbox);
    if (rc == 0)
        return 0;
    uv_walk(&sandbox->loop, close_handle, sandbox);
    uv_run(&sandbox->loop, UV_RUN_DEFAULT);
    uv_loop_close(&sandbox->loop);
    return rc;
}

static void sandbox_free(struct sandbox *sandbox)
{
    steering_free(sandbox->steering);
    mailbox_free(sandbox->mailbox);
    free(sandbox);
}

int sandbox_start(const struct sandbox_settings *settings, struct sandbox **sandbox_out,
                  struct error *err)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
    if (sandbox == NULL)
        return error_set(err, ERR_NOMEM, "sandbox");
    sandbox->settings = *settings;
    if (settings->max_clients == 0)
        sandbox->settings.max_clients = MAX_CLIENTS;
    if (settings->idle_ms == 0)
        sandbox->settings.idle_ms = IDLE_MS;
    sandbox->budget.max = INTAKE_MAX;
    sandbox->mailbox = mailbox_new(settings->max_messages, settings->max_bytes);
    sandbox->steering = steering_new();
    if (sandbox->mailbox == NULL || sandbox->steering == NULL) {
        sandbox_free(sandbox);
        return error_set(err, ERR_NOMEM, "sandbox");
    }
    int rc = open_loop(sandbox);
    if (rc < 0) {
        sandbox_free(sandbox);
        return error_set(err, ERR_IO, "sandbox on 127.0.0.1:%u: %s", settings->port,
                         uv_strerror(rc));
    }
    *sandbox_out = sandbox;
    return 0;
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
    assert(sandbox->n_clients == 0 && sandbox->budget.used == 0);
    sandbox_free(sandbox);
}

/* --- looking ------------------------------------------------------------------------------ */

static json_t *envelope_of(const struct mail *mail)
{
    json_t *to = json_array();
    const char *address = mail->from;
    for (size_t i = 0; i < mail->n_to; i++) {
        address += strlen(address) + 1;
        if (json_array_append_new(to, json_string(address)) < 0) {
            json_decref(to);
            return NULL;
        }
    }
    return json_pack("{s:s, s:o}", "from", mail->from, "to", to);
}

static json_t *describe(const struct mail *mail)
{
    char at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(mail->at_ms, at);
    json_t *parsed = mime_parse(mail->content->data, mail->content->len);
    json_t *json = json_pack("{s:s, s:s, s:o, s:I}", "id", mail->id, "received_at", at, "envelope",
                             envelope_of(mail), "size", (json_int_t)mail->content->len);
    if (parsed == NULL || json_object_update_missing(json, parsed) < 0) {
        json_decref(json);
        json = NULL;
    }
    json_decref(parsed);
    return json;
}

json_t *sandbox_list(struct sandbox *sandbox)
{
    size_t n;
    struct mail **all = mailbox_all(sandbox->mailbox, &n);
    json_t *list = all != NULL ? json_array() : NULL;
    for (size_t i = 0; all != NULL && i < n; i++) {
        json_t *mail = list != NULL ? describe(all[i]) : NULL;
        mail_unref(all[i]);
        if (list == NULL)
            continue;
        json_object_del(mail, "headers");
        if (json_array_append_new(list, mail) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    free(all);
    return list;
}

json_t *sandbox_get(struct sandbox *sandbox, const char *id)
{
    CLEANUP(mail_unref) struct mail *mail = mailbox_find(sandbox->mailbox, id);
    json_t *json = mail != NULL ? describe(mail) : NULL;
    if (json == NULL)
        return NULL;
    json_t *raw = json_stringn(mail->content->data, mail->content->len);
    json_object_set_new(json, "raw", raw != NULL ? raw : json_null());
    return json;
}

char *sandbox_raw(struct sandbox *sandbox, const char *id, size_t *len_out)
{
    CLEANUP(mail_unref) struct mail *mail = mailbox_find(sandbox->mailbox, id);
    char *raw = mail != NULL ? malloc(mail->content->len + 1) : NULL;
    if (raw == NULL)
        return NULL;
    memcpy(raw, mail->content->data, mail->content->len);
    *len_out = mail->content->len;
    return raw;
}

size_t sandbox_delete_all(struct sandbox *sandbox)
{
    return mailbox_clear(sandbox->mailbox);
}
