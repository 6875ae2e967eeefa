#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admit/admit.h"
#include "base/lock.h"
#include "base/log.h"

/*
 * The door with a real queue behind it. The relay is `deliver`: "bounce@" is refused for good,
 * "never@" for now, all others are sent.
 */

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

enum { MAILS_MAX = 8, FAULTS_MAX = 4 };

/* A mail and what was said of it. */
struct letter {
    struct bed *bed;
    struct message message;
    const char *idempotency_key;
    uint8_t fingerprint[32];
    bool no_memory; /* for its receipt */

    unsigned n_kept, n_results;
    char id[ID_SIZE], message_id[128], relay[16];
    int64_t lifetime_ms;
    unsigned place; /* among those that were kept */
    enum queue_answer_kind kind;
    size_t n_faults;
    struct error faults[FAULTS_MAX];
    int status; /* REPLAY */
    char body[64];
    bool has_record;
    bool before_return; /* it was told while admit() was still at work */
};

struct bed {
    char dir[32], store[64];
    struct config config;
    struct queue *queue;
    struct arena *arena;
    struct lock lock; /* guards the results */
    struct letter letters[MAILS_MAX];
    unsigned n_kept, n_results;
    pthread_t admitting; /* while admit() runs */
    const char *remembered;
};

static void deliver(void *arg, struct mail *list)
{
    struct bed *bed = arg;
    for (struct mail *d = list, *next; d != NULL; d = next) {
        next = d->next;
        bool held = false;
        for (size_t i = 0; i < d->n_recipients; i++) {
            struct mail_recipient *r = &d->recipients[i];
            bool bounce = strncmp(r->address, "bounce@", 7) == 0;
            held = held || strncmp(r->address, "never@", 6) == 0;
            r->verdict = bounce ? DELIVERY_FAILED : DELIVERY_SENT;
            r->reply = (struct reply_record){.code = bounce ? 550 : 250};
        }
        d->relay = "fake";
        bool departs = !held && queue_depart(bed->queue, d) == QUEUE_DEPARTS;
        for (size_t i = 0; i < d->n_recipients && !departs; i++)
            d->recipients[i].verdict = held ? DELIVERY_DEFERRED : DELIVERY_UNTRIED;
        queue_settle(bed->queue, d);
    }
}

static void open_bed(struct bed *bed, const char *scheme, uint64_t min_free)
{
    static const int64_t retry_ms[] = {60000};
    static struct config_relay relays[] = {{.name = "primary"}, {.name = "backup"}};
    struct error err;
    *bed = (struct bed){.dir = "/tmp/postern-admit-XXXXXX"};
    cr_assert_not_null(mkdtemp(bed->dir));
    if (strcmp(scheme, "memory:") == 0)
        strcpy(bed->store, scheme);
    else
        snprintf(bed->store, sizeof(bed->store), "sqlite:%s/queue.db", bed->dir);
    bed->config.queue.store = bed->store;
    bed->config.queue.max_age_ms = 3600000;
    bed->config.relays = relays;
    bed->config.n_relays = 2;
    bed->arena = arena_new();
    lock_init(&bed->lock);
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    const struct queue_settings settings = {.store = bed->store,
                                            .retry_ms = retry_ms,
                                            .n_retry = 1,
                                            .max_age_ms = 3600000,
                                            .retain_record_ms = 3600000,
                                            .min_free_bytes = min_free,
                                            .in_memory_bytes = 1 << 20,
                                            .ready = deliver,
                                            .arg = bed};
    cr_assert_eq(queue_open(&settings, &bed->queue, &err), 0, "%s", err.detail);
    cr_assert_eq(queue_start(bed->queue, &err), 0);
}

static void close_bed(struct bed *bed)
{
    char command[64];
    queue_drain(bed->queue);
    queue_free(bed->queue);
    arena_free(bed->arena);
    lock_clear(&bed->lock);
    snprintf(command, sizeof(command), "rm -r %s", bed->dir);
    cr_assert_eq(system(command), 0);
}

static void parse(struct bed *bed, const char *text, struct address *out)
{
    struct error err;
    cr_assert_eq(address_parse(bed->arena, text, strlen(text), out, &err), 0, "%s", err.detail);
}

/* The n-th letter, to `to`; what it was before is forgotten. */
static struct letter *write_letter(struct bed *bed, size_t n, const char *to)
{
    struct letter *letter = &bed->letters[n];
    struct error err;
    *letter = (struct letter){.bed = bed};
    letter->message.options.priority = PRIORITY_NORMAL;
    letter->message.subject = "s";
    letter->message.text = (struct text){"t", 1};
    parse(bed, "a@example.com", &letter->message.from);
    cr_assert_eq(address_list_parse(bed->arena, to, strlen(to), &letter->message.to, &err), 0);
    return letter;
}

static bool on_kept(void *arg, const struct mail *mail, struct admit_receipt *receipt)
{
    struct letter *letter = arg;
    cr_assert(pthread_equal(pthread_self(), letter->bed->admitting));
    letter->n_kept++;
    letter->place = ++letter->bed->n_kept;
    memcpy(letter->id, mail->id, sizeof(letter->id));
    snprintf(letter->message_id, sizeof(letter->message_id), "%s", mail->message_id);
    snprintf(letter->relay, sizeof(letter->relay), "%s",
             mail->options.relay != NULL ? mail->options.relay : "");
    letter->lifetime_ms = mail->expires_ms - mail->created_ms;
    *receipt = (struct admit_receipt){.status = 202, .text = letter->id, .len = ID_LEN};
    return !letter->no_memory;
}

static void on_result(void *arg, const struct admit_result *result)
{
    struct letter *letter = arg;
    struct bed *bed = letter->bed;
    CLEANUP(buffer_clear) struct buffer text;
    buffer_init(&text, 64);
    if (bed->remembered != NULL && result->answer->kind == QUEUE_DONE) {
        buffer_append_str(&text, bed->remembered);
        admit_remember(result, 200, &text);
        cr_assert_eq(text.len, strlen(bed->remembered));
    }
    lock_take(&bed->lock);
    letter->n_results++;
    letter->kind = result->answer->kind;
    letter->has_record = result->answer->record != NULL;
    letter->before_return = pthread_equal(pthread_self(), bed->admitting);
    cr_expect_eq(result->errors != NULL, letter->kind == QUEUE_REFUSED);
    for (size_t i = 0; result->errors != NULL && i < result->errors->n_items; i++)
        letter->faults[letter->n_faults++ % FAULTS_MAX] = result->errors->items[i];
    if (letter->kind == QUEUE_REPLAY) {
        letter->status = result->answer->status;
        snprintf(letter->body, sizeof(letter->body), "%s", result->answer->body);
    }
    bed->n_results++;
    lock_signal(&bed->lock);
    lock_drop(&bed->lock);
}

/* The first `n` letters, at once; until all are answered. */
static void admit_letters(struct bed *bed, size_t n, const struct config_api_key *key,
                          int64_t wait_ms)
{
    const struct admit_door door = {.config = &bed->config, .queue = bed->queue};
    struct admit_mail mails[MAILS_MAX];
    for (size_t i = 0; i < n; i++) {
        struct letter *letter = &bed->letters[i];
        mails[i] = (struct admit_mail){.message = &letter->message,
                                       .idempotency_key = letter->idempotency_key,
                                       .fingerprint = letter->fingerprint,
                                       .arg = letter};
    }
    bed->n_kept = 0;
    bed->n_results = 0;
    bed->admitting = pthread_self();
    admit(&door, &(struct admission){.api_key = key,
                                     .mails = mails,
                                     .n_mails = n,
                                     .wait_ms = wait_ms,
                                     .arena = bed->arena,
                                     .kept = on_kept,
                                     .result = on_result});
    lock_take(&bed->lock);
    while (bed->n_results < n)
        lock_wait(&bed->lock, INT64_MAX);
    lock_drop(&bed->lock);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(bed->letters[i].n_results, 1);
}

static void assert_refused(const struct letter *letter, size_t fault, enum error_code code,
                           const char *pointer, const char *detail)
{
    cr_assert_eq(letter->kind, QUEUE_REFUSED);
    cr_assert_gt(letter->n_faults, fault);
    cr_expect_eq(letter->faults[fault].code, code, "%s", error_word(letter->faults[fault].code));
    cr_expect_str_eq(letter->faults[fault].where, pointer);
    cr_expect_not_null(strstr(letter->faults[fault].detail, detail), "%s",
                       letter->faults[fault].detail);
}

/* --- what is let in ----------------------------------------------------------------------- */

Test(admit, one_is_kept_and_told_so)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    struct letter *letter = write_letter(&bed, 0, "never@x.org");
    admit_letters(&bed, 1, NULL, 0);
    cr_assert_eq(letter->kind, QUEUE_STORED);
    cr_assert_eq(letter->n_kept, 1);
    cr_assert_not(letter->before_return);
    cr_assert(id_valid(letter->id));
    cr_assert_eq(strncmp(letter->message_id + 1, letter->id, ID_LEN), 0);
    cr_assert_eq(letter->lifetime_ms, 3600000);
    close_bed(&bed);
}

Test(admit, none_at_all_is_nothing)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    admit_letters(&bed, 0, NULL, 0);
    cr_assert_eq(bed.n_results, 0);
    close_bed(&bed);
}

Test(admit, of_several_the_one_that_is_refused_holds_up_none)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    for (size_t i = 0; i < 5; i++)
        write_letter(&bed, i, "bob@x.org");
    bed.letters[2].message.options.relay = "backp";
    admit_letters(&bed, 5, NULL, 10000);
    for (size_t i = 0; i < 5; i++) {
        const struct letter *letter = &bed.letters[i];
        cr_expect_eq(letter->kind, i == 2 ? QUEUE_REFUSED : QUEUE_DONE, "letter %zu", i);
        cr_expect_eq(letter->before_return, i == 2, "letter %zu", i);
        cr_expect_eq(letter->place, i < 2 ? i + 1 : i > 2 ? i : 0, "in the array's order");
        cr_expect_eq(letter->has_record, i != 2);
    }
    assert_refused(&bed.letters[2], 0, ERR_INVALID, "/relay", "did you mean backup?");
    cr_assert_str_neq(bed.letters[0].id, bed.letters[1].id);
    close_bed(&bed);
}

Test(admit, a_ttl_shortens_the_life_and_never_lengthens_it)
{
    static const struct {
        int64_t ttl_ms, lifetime_ms;
    } rows[] = {{0, 3600000}, {1000, 1000}, {3600000, 3600000}, {7200000, 3600000}};
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    for (size_t i = 0; i < COUNT(rows); i++)
        write_letter(&bed, i, "never@x.org")->message.ttl_ms = rows[i].ttl_ms;
    admit_letters(&bed, COUNT(rows), NULL, 0);
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_expect_eq(bed.letters[i].lifetime_ms, rows[i].lifetime_ms, "row %zu", i);
    close_bed(&bed);
}

Test(admit, who_waits_hears_the_outcome)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    write_letter(&bed, 0, "bob@x.org");
    write_letter(&bed, 1, "bounce@x.org");
    write_letter(&bed, 2, "bounce@x.org, bob@x.org");
    admit_letters(&bed, 3, NULL, 10000);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(bed.letters[i].kind, QUEUE_DONE);
        cr_expect(bed.letters[i].has_record);
    }
    close_bed(&bed);
}

Test(admit, where_nothing_is_durable_all_wait)
{
    struct bed bed;
    open_bed(&bed, "memory:", 0);
    write_letter(&bed, 0, "bob@x.org");
    admit_letters(&bed, 1, NULL, 0);
    cr_assert_eq(bed.letters[0].kind, QUEUE_DONE);
    write_letter(&bed, 0, "never@x.org");
    admit_letters(&bed, 1, NULL, 100);
    cr_assert_eq(bed.letters[0].kind, QUEUE_WITHDRAWN);
    close_bed(&bed);
}

/* --- what the message lacks --------------------------------------------------------------- */

Test(admit, faults_of_a_message_have_their_pointers)
{
    struct bed bed;
    struct attachment broken = {.filename = "f", .base64 = "!", .base64_len = 1};
    open_bed(&bed, "sqlite", 0);

    struct letter *letter = write_letter(&bed, 0, "bob@x.org");
    letter->message.to.n_items = 0;
    letter = write_letter(&bed, 1, "bob@x.org");
    letter->message.attachments = &broken;
    letter->message.n_attachments = 1;
    letter->message.options.relay = ""; /* told together */
    letter = write_letter(&bed, 2, "bob@x.org");
    letter->message.options.relay = "sandbox"; /* there is none */
    admit_letters(&bed, 3, NULL, 0);

    assert_refused(&bed.letters[0], 0, ERR_INVALID, "/to", "no recipient");
    cr_expect_eq(bed.letters[1].n_faults, 2);
    assert_refused(&bed.letters[1], 0, ERR_INVALID, "/relay", "no relay of that name");
    assert_refused(&bed.letters[1], 1, ERR_INVALID, "/attachments/0/content", "");
    assert_refused(&bed.letters[2], 0, ERR_INVALID, "/relay", "no relay of that name");
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(bed.letters[i].n_kept, 0);
        cr_expect(bed.letters[i].before_return);
    }
    close_bed(&bed);
}

Test(admit, there_are_limits_for_recipients_and_size)
{
    struct bed bed;
    CLEANUP(buffer_clear) struct buffer to, text;
    open_bed(&bed, "sqlite", 0);
    buffer_init(&to, 1 << 20);
    for (size_t i = 0; i <= MESSAGE_RECIPIENTS_MAX; i++)
        buffer_printf(&to, "%s%zu@x.org", i > 0 ? "," : "", i);
    buffer_append_char(&to, '\0');
    write_letter(&bed, 0, to.data);
    buffer_init(&text, ADMIT_CONTENT_MAX + 1);
    memset(buffer_reserve(&text, ADMIT_CONTENT_MAX), '\n', ADMIT_CONTENT_MAX);
    write_letter(&bed, 1, "bob@x.org")->message.text = (struct text){text.data, ADMIT_CONTENT_MAX};
    admit_letters(&bed, 2, NULL, 0);
    assert_refused(&bed.letters[0], 0, ERR_INVALID, "/to", "more than 1000 recipients");
    assert_refused(&bed.letters[1], 0, ERR_TOO_LARGE, "", "more than 67108864 octets");
    close_bed(&bed);
}

/* --- what the key allows ------------------------------------------------------------------ */

Test(admit, a_key_sends_as_those_of_its_list_alone)
{
    static const char *from[] = {"*@example.com"}, *to[] = {"*@x.org"};
    static const struct config_api_key key = {.name = "k", .from = {from, 1}, .to = {to, 1}};
    struct bed bed;
    struct address stranger;
    open_bed(&bed, "sqlite", 0);
    parse(&bed, "eve@evil.org", &stranger);

    write_letter(&bed, 0, "never@x.org");
    write_letter(&bed, 1, "never@x.org")->message.from = stranger;
    bed.letters[1].message.envelope_from = "a@example.com";
    write_letter(&bed, 2, "never@x.org")->message.sender = &stranger;
    write_letter(&bed, 3, "never@x.org")->message.envelope_from = stranger.email;
    write_letter(&bed, 4, "never@x.org")->message.envelope_from = "";
    write_letter(&bed, 5, "never@x.org, never@y.org")->message.options.relay = "nowhere";
    admit_letters(&bed, 6, &key, 0);

    static const char *const pointers[] = {NULL, "/from", "/sender", "/envelope/from", NULL, "/to"};
    static const size_t n_faults[] = {0, 1, 2, 1, 0, 1};
    for (size_t i = 0; i < 6; i++) {
        const struct letter *letter = &bed.letters[i];
        cr_expect_eq(letter->n_faults, n_faults[i], "letter %zu", i);
        if (pointers[i] == NULL)
            cr_expect_eq(letter->kind, QUEUE_STORED, "letter %zu", i);
        else
            assert_refused(letter, 0, ERR_FORBIDDEN, pointers[i], "the API key may not send");
    }
    /* Sender is the envelope's too, if nothing else is said. */
    assert_refused(&bed.letters[2], 1, ERR_FORBIDDEN, "/envelope/from", "");
    close_bed(&bed);
}

Test(admit, a_key_with_a_relay_sends_through_it)
{
    static const struct config_api_key key = {.name = "k", .relay = "primary"};
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    write_letter(&bed, 0, "never@x.org");
    write_letter(&bed, 1, "never@x.org")->message.options.relay = "primary";
    write_letter(&bed, 2, "never@x.org")->message.options.relay = "backup";
    admit_letters(&bed, 3, &key, 0);
    cr_expect_str_eq(bed.letters[0].relay, "primary");
    cr_expect_str_eq(bed.letters[1].relay, "primary");
    assert_refused(&bed.letters[2], 0, ERR_FORBIDDEN, "/relay", "through primary alone");
    close_bed(&bed);
}

/* --- idempotency -------------------------------------------------------------------------- */

static struct letter *write_keyed(struct bed *bed, size_t n, const char *to, uint8_t request)
{
    struct letter *letter = write_letter(bed, n, to);
    letter->idempotency_key = "order 1";
    letter->fingerprint[31] = request;
    return letter;
}

Test(admit, a_key_that_comes_again_gets_the_first_answer)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    write_keyed(&bed, 0, "never@x.org", 1);
    write_keyed(&bed, 1, "never@x.org", 1); /* in one array too */
    write_keyed(&bed, 2, "never@x.org", 2);
    admit_letters(&bed, 3, NULL, 0);
    cr_assert_eq(bed.letters[0].kind, QUEUE_STORED);
    cr_assert_eq(bed.letters[1].kind, QUEUE_REPLAY);
    cr_expect_eq(bed.letters[1].status, 202);
    cr_expect_str_eq(bed.letters[1].body, bed.letters[0].id);
    cr_assert_eq(bed.letters[2].kind, QUEUE_MISMATCH);

    static const struct config_api_key other = {.name = "other"};
    write_keyed(&bed, 0, "never@x.org", 2);
    admit_letters(&bed, 1, &other, 0);
    cr_assert_eq(bed.letters[0].kind, QUEUE_STORED, "another's keys are apart");
    close_bed(&bed);
}

Test(admit, what_a_client_that_waited_was_told_is_remembered)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    bed.remembered = "the outcome";
    write_keyed(&bed, 0, "bob@x.org", 1);
    admit_letters(&bed, 1, NULL, 10000);
    cr_assert_eq(bed.letters[0].kind, QUEUE_DONE);
    do { /* until it is committed */
        write_keyed(&bed, 0, "bob@x.org", 1);
        admit_letters(&bed, 1, NULL, 0);
    } while (bed.letters[0].kind == QUEUE_IN_PROGRESS);
    cr_assert_eq(bed.letters[0].kind, QUEUE_REPLAY);
    cr_expect_eq(bed.letters[0].status, 200);
    cr_expect_str_eq(bed.letters[0].body, "the outcome");

    write_letter(&bed, 0, "bob@x.org"); /* without a key nothing is */
    admit_letters(&bed, 1, NULL, 10000);
    cr_expect_eq(bed.letters[0].kind, QUEUE_DONE);
    close_bed(&bed);
}

Test(admit, a_message_that_is_refused_leaves_its_key_free)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    write_keyed(&bed, 0, "never@x.org", 1)->message.options.relay = "nowhere";
    write_keyed(&bed, 1, "never@x.org", 2)->no_memory = true;
    write_keyed(&bed, 2, "never@x.org", 3);
    admit_letters(&bed, 3, NULL, 0);
    assert_refused(&bed.letters[0], 0, ERR_INVALID, "/relay", "");
    assert_refused(&bed.letters[1], 0, ERR_NOMEM, "", "");
    cr_assert_eq(bed.letters[2].kind, QUEUE_STORED);
    close_bed(&bed);
}

Test(admit, keys_that_are_none)
{
    char long_key[ADMIT_KEY_MAX + 2];
    memset(long_key, 'k', ADMIT_KEY_MAX + 1);
    long_key[ADMIT_KEY_MAX + 1] = '\0';
    const char *const keys[] = {"", long_key, "\xc3\xb6", "a\tb", "a\x7f", "a\r\n"};
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    for (size_t i = 0; i < COUNT(keys); i++) {
        write_letter(&bed, i, "never@x.org")->idempotency_key = keys[i];
        cr_expect_not(admit_key_valid(keys[i]));
    }
    admit_letters(&bed, COUNT(keys), NULL, 0);
    for (size_t i = 0; i < COUNT(keys); i++)
        assert_refused(&bed.letters[i], 0, ERR_MALFORMED, "", "1 to 255 printable ASCII");
    cr_expect(admit_key_valid(long_key + 1));
    cr_expect(admit_key_valid("order 1~"));
    close_bed(&bed);
}

/* --- not now ------------------------------------------------------------------------------ */

Test(admit, while_draining_all_are_refused)
{
    struct bed bed;
    open_bed(&bed, "sqlite", 0);
    queue_drain(bed.queue);
    write_letter(&bed, 0, "bob@x.org");
    write_letter(&bed, 1, "bob@x.org")->message.options.relay = "nowhere";
    admit_letters(&bed, 2, NULL, 0);
    assert_refused(&bed.letters[0], 0, ERR_DRAINING, "", "shutting down");
    assert_refused(&bed.letters[1], 0, ERR_INVALID, "/relay", "");
    close_bed(&bed);
}

Test(admit, a_full_disk_takes_nothing)
{
    struct bed bed;
    open_bed(&bed, "sqlite", UINT64_MAX / 4);
    write_letter(&bed, 0, "bob@x.org");
    write_letter(&bed, 1, "bob@x.org");
    admit_letters(&bed, 2, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_refused(&bed.letters[i], 0, ERR_STORE_FULL, "", "too little space");
        cr_expect_eq(bed.letters[i].n_kept, 1);
    }
    close_bed(&bed);
}
