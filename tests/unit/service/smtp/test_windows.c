/*
 * The dialogue against the sandbox's receiver, a strict server without I/O: how many round trips a
 * message costs, and what becomes of sixteen messages when the connection ends at any octet.
 */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/receiver.h"
#include "smtp/dialogue.h"

enum { MESSAGES_MAX = 400, WIRE_MAX = 256 * 1024 };

#define UNBROKEN (SIZE_MAX / 2)

enum fate { UNKNOWN, SENT, FAILED, READY, IN_DOUBT, DEFERRED };

struct world {
    struct smtp_dialogue *dialogue;
    struct receiver *receiver;
    struct receiver_budget budget;
    size_t n_messages, n_begun;
    bool refuses;
    char content[MESSAGES_MAX][48], recipient[MESSAGES_MAX][40];
    const char *recipients[MESSAGES_MAX][1];
    enum fate fate[MESSAGES_MAX];
    size_t n_fates[MESSAGES_MAX], n_taken[MESSAGES_MAX]; /* told by us; by the server */
    size_t to_kernel;    /* octets that it takes of us yet: what it never took was never sent */
    char wire[WIRE_MAX]; /* on its way to the server */
    size_t wire_len;
};

static bool refuses_recipient(const struct world *w, size_t i)
{
    return w->refuses && i % 5 == 4;
}

static bool refuses_content(const struct world *w, size_t i)
{
    return w->refuses && i % 7 == 6;
}

static const char *on_recipient(void *arg, const char *address)
{
    return refuses_recipient(arg, (size_t)atoi(address + 1)) ? "550 5.1.1 No" : NULL;
}

static struct receiver_verdict on_mail(void *arg, const struct receiver_mail *mail)
{
    struct world *w = arg;
    size_t i = (size_t)atoi(mail->to[0] + 1);
    if (refuses_content(w, i))
        return (struct receiver_verdict){.reply = "554 5.6.0 Not this content"};
    cr_assert_eq(mail->content->len, strlen(w->content[i]));
    cr_assert_arr_eq(mail->content->data, w->content[i], mail->content->len);
    w->n_taken[i]++;
    return (struct receiver_verdict){.reply = "250 2.0.0 Kept"};
}

static void world_init(struct world *w, size_t n_messages, const struct smtp_options *options,
                       const struct receiver_owner *offer)
{
    *w =
        (struct world){.n_messages = n_messages, .budget = {.max = 1 << 20}, .to_kernel = UNBROKEN};
    for (size_t i = 0; i < n_messages; i++) {
        snprintf(w->content[i], sizeof(w->content[i]), "Subject: %zu\r\n\r\n.dot\r\n", i);
        snprintf(w->recipient[i], sizeof(w->recipient[i]), "r%zu@example.net", i);
        w->recipients[i][0] = w->recipient[i];
    }
    struct receiver_owner owner = *offer;
    owner.on_recipient = on_recipient;
    owner.on_mail = on_mail;
    owner.arg = w;
    owner.budget = &w->budget;
    w->receiver = receiver_new(&owner);
    w->dialogue = smtp_dialogue_new(options, 0);
}

static void world_clear(struct world *w)
{
    smtp_dialogue_free(w->dialogue);
    receiver_free(w->receiver);
}

static void take_results(struct world *w)
{
    struct smtp_result result;
    while (smtp_dialogue_next_result(w->dialogue, &result)) {
        size_t i = (size_t)((const char(*)[1])result.owner - (const char(*)[1])w->fate);
        const struct smtp_recipient_result *r = &result.recipients[0];
        i /= sizeof(w->fate[0]);
        w->n_fates[i]++;
        w->fate[i] = r->reply.code / 100 == 2                          ? SENT
                     : r->reply.code != 0                              ? FAILED
                     : result.untouched                                ? READY
                     : r->step == SMTP_STEP_CONTENT && result.in_doubt ? IN_DOUBT
                                                                       : DEFERRED;
    }
}

static void begin_all_there_is_room_for(struct world *w)
{
    struct error err;
    while (w->n_begun < w->n_messages && smtp_dialogue_room(w->dialogue)) {
        size_t i = w->n_begun++;
        const struct smtp_envelope envelope = {.sender = "a@example.com",
                                               .recipients = w->recipients[i],
                                               .n_recipients = 1,
                                               .content = w->content[i],
                                               .content_len = strlen(w->content[i]),
                                               .owner = &w->fate[i]};
        cr_assert_eq(smtp_dialogue_begin(w->dialogue, &envelope, 0, &err), 0);
    }
}

/* All that the dialogue says before it hears more goes onto the wire. */
static void speak(struct world *w)
{
    size_t n, taken;
    do {
        begin_all_there_is_room_for(w);
        n = smtp_dialogue_pull(w->dialogue, w->wire + w->wire_len, WIRE_MAX - w->wire_len);
        taken = n < w->to_kernel ? n : w->to_kernel;
        smtp_dialogue_written(w->dialogue, taken, 0);
        w->wire_len += taken;
        w->to_kernel -= taken;
        cr_assert_lt(w->wire_len, (size_t)WIRE_MAX);
    } while (n > 0 && taken == n);
}

/* What the server said, at most `most` octets of it; false: the connection has ended. */
static bool hear(struct world *w, size_t most, size_t *n_heard)
{
    struct buffer *out = receiver_out(w->receiver);
    struct error err;
    size_t n = out->len < most ? out->len : most;
    bool lives = n == 0 || smtp_dialogue_feed(w->dialogue, out->data, n, 0, &err) == 0;
    buffer_consume(out, n);
    *n_heard = n;
    take_results(w);
    return lives && !smtp_dialogue_over(w->dialogue);
}

static size_t listen_to(struct world *w, size_t most)
{
    size_t n = receiver_feed(w->receiver, w->wire, w->wire_len < most ? w->wire_len : most);
    memmove(w->wire, w->wire + n, w->wire_len - n);
    w->wire_len -= n;
    return n;
}

/* Runs to the end, and returns how often the wire fell silent in between. */
static size_t round_trips(const struct receiver_owner *offer, unsigned window, size_t n_messages)
{
    const struct smtp_options options = {
        .hostname = "client.example", .window = window, .timeouts = {1000, 1000, 1000, 1000}};
    struct world *w = malloc(sizeof(*w));
    size_t n = 0, heard;
    world_init(w, n_messages, &options, offer);
    hear(w, SIZE_MAX, &heard); /* greeting */
    speak(w);
    listen_to(w, SIZE_MAX); /* EHLO */
    hear(w, SIZE_MAX, &heard);
    for (speak(w); w->wire_len > 0; speak(w), n++) {
        listen_to(w, SIZE_MAX);
        cr_assert(hear(w, SIZE_MAX, &heard));
    }
    for (size_t i = 0; i < n_messages; i++)
        cr_assert_eq(w->n_fates[i], 1);
    world_clear(w);
    free(w);
    return n;
}

static const struct receiver_owner PLAIN = {.no_pipelining = true, .no_chunking = true};
static const struct receiver_owner PIPELINING = {.no_chunking = true};
static const struct receiver_owner CHUNKING = {.no_chunking = false};

Test(windows, round_trips_a_message)
{
    cr_assert_eq(round_trips(&PLAIN, 16, 20), 20 * 4);
    /* DATA waits for its 354. The first goes alone; from then on a content takes the next envelope
     * with it. */
    cr_assert_eq(round_trips(&PIPELINING, 16, 20), 1 + 1 + 1 + 19);
    cr_assert_eq(round_trips(&PIPELINING, 1, 20), 20 * 2);
    cr_assert_eq(round_trips(&CHUNKING, 1, 20), 20);
    /* 1, 2, and as two were taken then 8; then 16 at a time. */
    cr_assert_eq(round_trips(&CHUNKING, 16, 1 + 2 + 8 + 20 * 16), 3 + 20);
}

/* Octets after which the connection ends. */
struct break_at {
    size_t to_kernel, to_server, to_us;
};

/* False: it broke. True: all that was to be said was said before that. */
static bool exchange(struct world *w, struct break_at left)
{
    bool lives = true;
    size_t n_heard, n_moved;
    w->to_kernel = left.to_kernel;
    do {
        speak(w);
        n_moved = listen_to(w, left.to_server);
        left.to_server -= n_moved;
        lives = hear(w, left.to_us, &n_heard);
        left.to_us -= n_heard;
    } while (lives && (n_moved > 0 || n_heard > 0));
    return w->to_kernel > 0 && left.to_server > 0 && left.to_us > 0;
}

static void sweep(const struct smtp_options *options, const struct receiver_owner *offer,
                  struct break_at at, bool *ended_by_itself)
{
    struct world *w = malloc(sizeof(*w));
    world_init(w, 16, options, offer);
    w->refuses = true;
    *ended_by_itself = exchange(w, at);
    smtp_dialogue_lost(w->dialogue);
    take_results(w);

    for (size_t i = 0; i < w->n_begun; i++) {
        cr_assert_eq(w->n_fates[i], 1, "message %zu has %zu ends", i, w->n_fates[i]);
        if (w->fate[i] == SENT)
            cr_assert_eq(w->n_taken[i], 1);
        else if (w->fate[i] != IN_DOUBT)
            cr_assert_eq(w->n_taken[i], 0, "message %zu ended as %d", i, w->fate[i]);
        /* Where both sides heard all that went out, there is nothing to doubt. */
        if (at.to_server == UNBROKEN && at.to_us == UNBROKEN)
            cr_assert_neq(w->fate[i], IN_DOUBT, "message %zu", i);
        if (*ended_by_itself && w->fate[i] != READY)
            cr_assert_eq(w->fate[i],
                         refuses_recipient(w, i) || refuses_content(w, i) ? FAILED : SENT);
    }
    world_clear(w);
    free(w);
}

static void sweep_all_ways(const struct receiver_owner *offer)
{
    static const struct smtp_options options = {
        .hostname = "client.example", .window = 16, .timeouts = {1000, 1000, 1000, 1000}};
    bool ended = false;
    size_t n = 0;
    for (; !ended; n++)
        sweep(&options, offer, (struct break_at){UNBROKEN, n, UNBROKEN}, &ended);
    cr_assert_gt(n, (size_t)1000, "%zu", n);
    ended = false;
    for (n = 0; !ended; n++)
        sweep(&options, offer, (struct break_at){UNBROKEN, UNBROKEN, n}, &ended);
    cr_assert_gt(n, (size_t)500, "%zu", n);
    ended = false;
    for (n = 0; !ended; n++)
        sweep(&options, offer, (struct break_at){n, UNBROKEN, UNBROKEN}, &ended);
    cr_assert_gt(n, (size_t)1000, "%zu", n);
}

Test(windows, the_connection_ends_at_any_octet_without_extensions)
{
    sweep_all_ways(&PLAIN);
}

Test(windows, the_connection_ends_at_any_octet_with_pipelining)
{
    sweep_all_ways(&PIPELINING);
}

Test(windows, the_connection_ends_at_any_octet_with_chunking)
{
    sweep_all_ways(&CHUNKING);
}
