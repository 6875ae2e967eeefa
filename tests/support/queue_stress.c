/*
 * queue_stress STORE N: two threads submit N messages each, two play sessions, one looks records
 * up, and now and then a commit fails. At the end the ledger must be exact: every submission
 * answered once; what was accepted ended once for each recipient; what was refused or withdrawn
 * never sent. Says what it counted; 1 and a line for each mistake if there is one.
 *
 * A program and not a unit test, because Criterion does not run under the thread sanitizer.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

enum { N_SUBMITTERS = 2, N_SESSIONS = 2, N_RECIPIENTS = 2, PATIENCE_MS = 120000 };

struct entry { /* of one message */
    char id[ID_SIZE];
    unsigned n_answers;
    enum queue_answer_kind kind;
    bool recorded;                              /* the answer came with a record */
    enum recipient_status status[N_RECIPIENTS]; /* by that */
    unsigned n_sent[N_RECIPIENTS], n_failed[N_RECIPIENTS];
};

static struct {
    struct queue *queue;
    const struct store_ops *ops;
    struct entry *entries;
    size_t n; /* messages in all */
    atomic_size_t n_answered, n_found;
    atomic_bool done; /* sessions and lookups end */

    struct lock lock; /* guards the entries' counts, and what is ready */
    struct mail_list ready;
} test = {.ready.end = &test.ready.first};

static unsigned n_mistakes;

/* --- a store whose commits fail now and then ---------------------------------------------- */

static int commit(struct store *store, struct store_turn *turn, struct error *err)
{
    static unsigned n; /* of the queue's thread */
    if (++n == 30 || n == 90)
        return error_set(err, ERR_STORE_UNAVAILABLE, "told to fail");
    return test.ops->commit(store, turn, err);
}

/* --- clients ------------------------------------------------------------------------------ */

static void on_answer(void *arg, const struct queue_answer *answer)
{
    struct entry *entry = arg;
    lock_take(&test.lock);
    entry->n_answers++;
    entry->kind = answer->kind;
    entry->recorded = answer->record != NULL;
    for (size_t i = 0; entry->recorded && i < N_RECIPIENTS; i++)
        entry->status[i] = answer->record->recipients[i].status;
    lock_drop(&test.lock);
    atomic_fetch_add(&test.n_answered, 1);
}

static struct mail *make_mail(size_t index)
{
    struct mail *mail = mail_new();
    mail->message_id = "<1@example.com>";
    mail->from = mail->sender = "a@example.com";
    mail->options.priority = (enum mail_priority)(index % 3);
    mail->created_ms = clock_wall_ms();
    mail->expires_ms = mail->created_ms + 3600000;
    mail_reserve_recipients(mail, N_RECIPIENTS);
    for (size_t i = 0; i < N_RECIPIENTS; i++)
        mail->recipients[i].address = arena_printf(mail->arena, "%zu.%zu@example.net", index, i);
    mail->content = bytes_copy("octets", 6);
    mail->size = 6;
    memcpy(mail->id, test.entries[index].id, ID_SIZE);
    return mail;
}

static void submit(size_t index, int64_t wait_ms)
{
    static const uint8_t fingerprint[STORE_FINGERPRINT_SIZE];
    char key[32];
    snprintf(key, sizeof(key), "%zu", index);
    queue_submit(test.queue, make_mail(index),
                 &(struct queue_request){.wait_ms = wait_ms,
                                         .key = index % 5 == 0 ? key : NULL,
                                         .fingerprint = fingerprint,
                                         .answer_status = 202,
                                         .answer_body = "{}",
                                         .answer = on_answer,
                                         .arg = &test.entries[index]});
}

static void *submit_all(void *arg)
{
    const size_t *first = arg;
    unsigned seed = (unsigned)*first + 1;
    for (size_t i = *first; i < test.n; i += N_SUBMITTERS) {
        int64_t wait_ms = !test.ops->durable || i % 3 == 0 ? 1 + rand_r(&seed) % 200 : 0;
        submit(i, wait_ms);
        if (i % 16 == 0)
            usleep(1000);
    }
    return NULL;
}

static void on_found(void *arg, const struct mail *record, const struct error *err)
{
    atomic_fetch_add(&test.n_found, record != NULL);
    atomic_fetch_sub((atomic_int *)arg, 1);
}

static void *look_up_all(void *arg)
{
    atomic_int n_open = 0;
    unsigned seed = 7;
    while (!atomic_load(&test.done) || atomic_load(&n_open) > 0) {
        if (atomic_load(&test.done) || atomic_load(&n_open) >= 16) {
            usleep(200);
            continue;
        }
        atomic_fetch_add(&n_open, 1);
        queue_find(test.queue, test.entries[(size_t)rand_r(&seed) % test.n].id, on_found, &n_open);
    }
    return NULL;
}

/* --- sessions ----------------------------------------------------------------------------- */

static void on_ready(void *arg, struct mail *list)
{
    lock_take(&test.lock);
    for (struct mail *next; list != NULL; list = next) {
        next = list->next;
        LIST_APPEND(&test.ready, list);
    }
    lock_drop(&test.lock);
}

static struct mail *take_ready(void)
{
    lock_take(&test.lock);
    struct mail *delivery = test.ready.first;
    if (delivery != NULL && (test.ready.first = delivery->next) == NULL)
        test.ready.end = &test.ready.first;
    lock_drop(&test.lock);
    return delivery;
}

static enum delivery_verdict choose(unsigned *seed)
{
    int dice = rand_r(seed) % 100;
    return dice < 70   ? DELIVERY_SENT
           : dice < 75 ? DELIVERY_FAILED
           : dice < 87 ? DELIVERY_UNTRIED
           : dice < 97 ? DELIVERY_DEFERRED
                       : DELIVERY_IN_DOUBT;
}

static void carry(struct mail *delivery, unsigned *seed)
{
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        size_t index, n;
        struct mail_recipient *recipient = &delivery->recipients[i];
        char *rest;
        index = strtoull(recipient->address, &rest, 10);
        n = strtoull(rest + 1, NULL, 10);
        recipient->verdict = choose(seed);
        lock_take(&test.lock);
        test.entries[index].n_sent[n] += recipient->verdict == DELIVERY_SENT;
        test.entries[index].n_failed[n] += recipient->verdict == DELIVERY_FAILED;
        lock_drop(&test.lock);
    }
}

static void *carry_all(void *arg)
{
    unsigned seed = *(const size_t *)arg ? 11 : 12;
    while (!atomic_load(&test.done)) {
        struct mail *delivery = take_ready();
        if (delivery == NULL) {
            usleep(200);
            continue;
        }
        delivery->relay = "primary";
        if (queue_depart(test.queue, delivery) == QUEUE_DEPARTS) {
            if (rand_r(&seed) % 64 == 0)
                usleep(5000);
            carry(delivery, &seed);
        }
        queue_settle(test.queue, delivery);
    }
    return NULL;
}

/* --- the ledger --------------------------------------------------------------------------- */

static void mistake(const struct entry *entry, const char *what)
{
    if (n_mistakes++ < 10)
        printf("%s: %s (kind %d, sent %u %u, failed %u %u)\n", entry->id, what, entry->kind,
               entry->n_sent[0], entry->n_sent[1], entry->n_failed[0], entry->n_failed[1]);
}

static bool stays(const struct entry *entry)
{
    return entry->kind == QUEUE_STORED;
}

static bool ended(const struct entry *entry)
{
    for (size_t i = 0; i < N_RECIPIENTS; i++)
        if (entry->n_sent[i] + entry->n_failed[i] == 0)
            return false;
    return true;
}

static bool all_ended(void)
{
    bool all = atomic_load(&test.n_answered) >= test.n;
    lock_take(&test.lock);
    for (size_t i = 0; all && i < test.n; i++)
        all = !stays(&test.entries[i]) || ended(&test.entries[i]);
    lock_drop(&test.lock);
    return all;
}

static void check_recipient(const struct entry *entry, size_t i)
{
    unsigned n_sent = entry->n_sent[i], n_failed = entry->n_failed[i];
    if (n_sent + n_failed > 1)
        mistake(entry, "ended twice");
    if (entry->kind == QUEUE_REFUSED && n_sent + n_failed > 0)
        mistake(entry, "refused and sent");
    if (entry->kind == QUEUE_WITHDRAWN && n_sent > 0)
        mistake(entry, "withdrawn and sent");
    if (stays(entry) && n_sent + n_failed == 0)
        mistake(entry, "lost");
    if (entry->kind != QUEUE_DONE)
        return;
    if (!entry->recorded)
        mistake(entry, "done without a record");
    else if ((entry->status[i] == RECIPIENT_SENT) != (n_sent == 1) ||
             (entry->status[i] == RECIPIENT_FAILED) != (n_failed == 1))
        mistake(entry, "the record says otherwise");
}

static void check_answers(void)
{
    size_t n[QUEUE_REFUSED + 1] = {0};
    for (size_t i = 0; i < test.n; i++) {
        const struct entry *entry = &test.entries[i];
        if (entry->n_answers != 1)
            mistake(entry, "not answered once");
        n[entry->kind]++;
        for (size_t r = 0; r < N_RECIPIENTS; r++)
            check_recipient(entry, r);
    }
    printf("%zu stored, %zu done, %zu withdrawn, %zu refused, %zu found\n", n[QUEUE_STORED],
           n[QUEUE_DONE], n[QUEUE_WITHDRAWN], n[QUEUE_REFUSED], atomic_load(&test.n_found));
}

/* What the file says when everything is over. */
static void check_record(struct store *store, const struct entry *entry)
{
    struct mail *record = NULL;
    struct error err;
    bool kept = entry->kind != QUEUE_REFUSED;
    if (test.ops->find(store, entry->id, &record, &err) < 0) {
        if (kept)
            mistake(entry, "not in the store");
        return;
    }
    if (!kept)
        mistake(entry, "refused, but in the store");
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].status !=
            (entry->n_sent[i] > 0 ? RECIPIENT_SENT : RECIPIENT_FAILED))
            mistake(entry, "the store says otherwise");
    mail_free(record);
}

/* Whoever was sent to is counted, once. */
static void check_usage(struct store *store)
{
    CLEANUP(usage_list_clear) struct usage_list list = {0};
    struct error err;
    int64_t n_counted = 0, n_sent = 0;
    if (test.ops->usage(store, 0, &list, &err) < 0) {
        printf("%s\n", err.detail);
        n_mistakes++;
    }
    for (size_t i = 0; i < list.n_items; i++)
        n_counted += list.items[i].n_recipients;
    for (size_t i = 0; i < test.n * N_RECIPIENTS; i++)
        n_sent += test.entries[i / N_RECIPIENTS].n_sent[i % N_RECIPIENTS];
    if (n_counted != n_sent) {
        printf("%" PRId64 " recipients counted, %" PRId64 " sent\n", n_counted, n_sent);
        n_mistakes++;
    }
}

static void check_store(const char *location)
{
    struct store *store;
    struct error err;
    if (test.ops->open(location, &store, &err) < 0) {
        printf("%s\n", err.detail);
        n_mistakes++;
        return;
    }
    for (size_t i = 0; i < test.n; i++)
        check_record(store, &test.entries[i]);
    check_usage(store);
    test.ops->close(store);
}

/* --- all of it ---------------------------------------------------------------------------- */

static int open_queue(const char *url, struct error *err)
{
    static const int64_t retry_ms[] = {5, 10};
    static struct store_ops ops;
    const char *location;
    test.ops = store_for(url, &location);
    if (test.ops == NULL)
        return error_set(err, ERR_CONFIG, "no such store");
    ops = *test.ops;
    ops.commit = commit;
    const struct queue_settings settings = {.retry_ms = retry_ms,
                                            .n_retry = 2,
                                            .max_age_ms = 3600000,
                                            .retain_record_ms = 3600000,
                                            .in_memory_bytes = 64 << 10,
                                            .ready = on_ready};
    if (queue_open_with(&ops, location, &settings, &test.queue, err) < 0)
        return -1;
    return queue_start(test.queue, err);
}

static void run(void)
{
    static const size_t number[] = {0, 1};
    pthread_t submitters[N_SUBMITTERS], sessions[N_SESSIONS], looker;
    for (size_t i = 0; i < N_SUBMITTERS; i++)
        pthread_create(&submitters[i], NULL, submit_all, (void *)&number[i]);
    for (size_t i = 0; i < N_SESSIONS; i++)
        pthread_create(&sessions[i], NULL, carry_all, (void *)&number[i]);
    pthread_create(&looker, NULL, look_up_all, NULL);
    for (size_t i = 0; i < N_SUBMITTERS; i++)
        pthread_join(submitters[i], NULL);
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!all_ended() && clock_mono_ms() < until_ms)
        usleep(10000);
    queue_drain(test.queue);
    atomic_store(&test.done, true);
    for (size_t i = 0; i < N_SESSIONS; i++)
        pthread_join(sessions[i], NULL);
    pthread_join(looker, NULL);
    for (struct mail *delivery; (delivery = take_ready()) != NULL;)
        queue_settle(test.queue, delivery); /* as a relay does that drains */
    queue_free(test.queue);
}

int main(int argc, char **argv)
{
    struct error err;
    if (argc != 3) {
        fprintf(stderr, "usage: queue_stress STORE N\n");
        return 2;
    }
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    lock_init(&test.lock);
    test.n = N_SUBMITTERS * strtoul(argv[2], NULL, 10);
    test.entries = calloc(test.n, sizeof(*test.entries));
    for (size_t i = 0; i < test.n; i++)
        id_new(clock_wall_ms(), test.entries[i].id);
    if (open_queue(argv[1], &err) < 0) {
        fprintf(stderr, "queue_stress: %s\n", err.detail);
        return 2;
    }
    run();
    check_answers();
    if (test.ops->durable)
        check_store(strchr(argv[1], ':') + 1);
    free(test.entries);
    lock_clear(&test.lock);
    return n_mistakes > 0;
}
