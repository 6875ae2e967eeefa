#include "queue/reader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

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
    pthread_mutex_t lock; /* guards the list and `stop` */
    pthread_cond_t news;
    struct lookup *first, **last;
    bool stop;
};

int reader_look_up(const struct store_ops *ops, struct store *store,
                   const struct flight_ledger *ledger, const char *id,
                   struct message_record **record_out, struct error *err)
{
    struct message_record *record;
    if (ops->find(store, id, &record, err) < 0)
        return -1;
    if (flight_ledger_has(ledger, record->seq))
        for (size_t i = 0; i < record->n_recipients; i++)
            if (!recipient_status_is_final(record->recipients[i].status))
                record->recipients[i].status = RECIPIENT_SENDING;
    *record_out = record;
    return 0;
}

static void look_up(struct reader *reader, const struct lookup *lookup)
{
    struct error err;
    struct message_record *record = NULL;
    if (reader_look_up(reader->ops, reader->store, reader->ledger, lookup->id, &record, &err) < 0)
        lookup->found(lookup->arg, NULL, &err);
    else
        lookup->found(lookup->arg, record, NULL);
    message_record_free(record);
}

static void *run(void *arg)
{
    struct reader *reader = arg;
    pthread_mutex_lock(&reader->lock);
    for (;;) {
        while (reader->first == NULL && !reader->stop)
            pthread_cond_wait(&reader->news, &reader->lock);
        struct lookup *lookup = reader->first;
        if (lookup == NULL)
            break;
        reader->first = lookup->next;
        if (reader->first == NULL)
            reader->last = &reader->first;
        pthread_mutex_unlock(&reader->lock);
        look_up(reader, lookup);
        free(lookup);
        pthread_mutex_lock(&reader->lock);
    }
    pthread_mutex_unlock(&reader->lock);
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
    reader->last = &reader->first;
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->news, NULL);
    if (pthread_create(&reader->thread, NULL, run, reader) != 0) {
        pthread_cond_destroy(&reader->news);
        pthread_mutex_destroy(&reader->lock);
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
    pthread_mutex_lock(&reader->lock);
    *reader->last = lookup;
    reader->last = &lookup->next;
    pthread_cond_signal(&reader->news);
    pthread_mutex_unlock(&reader->lock);
}

void reader_stop(struct reader *reader)
{
    if (reader == NULL)
        return;
    pthread_mutex_lock(&reader->lock);
    reader->stop = true;
    pthread_cond_signal(&reader->news);
    pthread_mutex_unlock(&reader->lock);
    pthread_join(reader->thread, NULL);
    pthread_cond_destroy(&reader->news);
    pthread_mutex_destroy(&reader->lock);
    free(reader);
}
