#include "queue/reader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/thread.h"
#include "queue/claim.h"

struct lookup {
    struct lookup *next;
    char id[ID_SIZE];
    queue_found_fn *found;
    void *arg;
};

struct reader {
    const struct store_ops *ops;
    struct store *store;
    const struct flight_ledger *ledger;
    pthread_t thread;
    struct lock lock; /* guards all below */
    struct lookup *lookups, **lookups_end;
    struct submission *waits, **waits_end; /* that have ended */
    bool stop;
};

/* As it is shown: what a session has now is `sending`. */
static struct mail *look_up(const struct reader *reader, const char *id, struct error *err)
{
    struct mail *record = NULL;
    if (reader->ops->find(reader->store, id, &record, err) < 0)
        return NULL;
    bool any_open = false;
    for (size_t i = 0; i < record->n_recipients; i++)
        any_open = any_open || !recipient_status_is_final(record->recipients[i].status);
    if (any_open && flight_ledger_has(reader->ledger, record->seq))
        for (size_t i = 0; i < record->n_recipients; i++)
            if (!recipient_status_is_final(record->recipients[i].status))
                record->recipients[i].status = RECIPIENT_SENDING;
    return record;
}

static void serve_lookup(const struct reader *reader, struct lookup *lookup)
{
    struct error err = {0};
    struct mail *record = look_up(reader, lookup->id, &err);
    lookup->found(lookup->arg, record, record == NULL ? &err : NULL);
    mail_free(record);
    free(lookup);
}

static void serve_wait(const struct reader *reader, struct submission *submission)
{
    struct error err = {0};
    struct queue_answer answer = {.kind = submission->kind, .err = &err};
    struct mail *record = look_up(reader, submission->id, &err);
    answer.record = record;
    if (record == NULL && answer.kind == QUEUE_DONE)
        answer.kind = QUEUE_STORED;
    submission_answer(submission, &answer);
    mail_free(record);
}

/* With the lock held; drops it while it serves. */
static void serve_lists(struct reader *reader)
{
    struct lookup *lookups = reader->lookups;
    struct submission *waits = reader->waits;
    reader->lookups = NULL;
    reader->lookups_end = &reader->lookups;
    reader->waits = NULL;
    reader->waits_end = &reader->waits;
    lock_drop(&reader->lock);
    for (struct submission *next; waits != NULL; waits = next) {
        next = waits->next;
        serve_wait(reader, waits);
    }
    for (struct lookup *next; lookups != NULL; lookups = next) {
        next = lookups->next;
        serve_lookup(reader, lookups);
    }
    lock_take(&reader->lock);
}

static void *run(void *arg)
{
    struct reader *reader = arg;
    thread_name("queue reader");
    lock_take(&reader->lock);
    for (;;) {
        if (reader->lookups != NULL || reader->waits != NULL)
            serve_lists(reader);
        else if (reader->stop)
            break;
        else
            lock_wait(&reader->lock, INT64_MAX);
    }
    lock_drop(&reader->lock);
    return NULL;
}

int reader_start(const struct store_ops *ops, struct store *store,
                 const struct flight_ledger *ledger, struct reader **reader_out, struct error *err)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return error_set(err, ERR_NOMEM, "reader");
    reader->ops = ops;
    reader->store = store;
    reader->ledger = ledger;
    reader->lookups_end = &reader->lookups;
    reader->waits_end = &reader->waits;
    lock_init(&reader->lock);
    if (pthread_create(&reader->thread, NULL, run, reader) != 0) {
        lock_clear(&reader->lock);
        free(reader);
        return error_set(err, ERR_IO, "no thread to be had for lookups");
    }
    *reader_out = reader;
    return 0;
}

void reader_find(struct reader *reader, const char *id, queue_found_fn *found, void *arg)
{
    struct lookup *lookup = malloc(sizeof(*lookup));
    if (lookup == NULL) {
        struct error err;
        error_set(&err, ERR_NOMEM, "lookup");
        found(arg, NULL, &err);
        return;
    }
    *lookup = (struct lookup){.found = found, .arg = arg};
    snprintf(lookup->id, sizeof(lookup->id), "%s", id);
    lock_take(&reader->lock);
    *reader->lookups_end = lookup;
    reader->lookups_end = &lookup->next;
    lock_signal(&reader->lock);
    lock_drop(&reader->lock);
}

void reader_answer(struct reader *reader, struct submission *submission,
                   enum queue_answer_kind kind)
{
    submission->kind = kind;
    submission->next = NULL;
    lock_take(&reader->lock);
    *reader->waits_end = submission;
    reader->waits_end = &submission->next;
    lock_signal(&reader->lock);
    lock_drop(&reader->lock);
}

void reader_stop(struct reader *reader)
{
    if (reader == NULL)
        return;
    lock_take(&reader->lock);
    reader->stop = true;
    lock_signal(&reader->lock);
    lock_drop(&reader->lock);
    pthread_join(reader->thread, NULL);
    lock_clear(&reader->lock);
    free(reader);
}
