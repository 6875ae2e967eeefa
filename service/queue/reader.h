#ifndef POSTERN_QUEUE_READER_H
#define POSTERN_QUEUE_READER_H

/* The thread that looks records up, so that a lookup waits for no sync and the API for no disk. */

#include "queue/flight.h"
#include "queue/queue.h"

struct reader;

/* `ops`, `store` and `ledger` are borrowed for the reader's life. */
int reader_start(const struct store_ops *ops, struct store *store,
                 const struct flight_ledger *ledger, struct reader **reader_out, struct error *err);
void reader_find(struct reader *reader, const char *id, queue_found_fn *found, void *arg);
void reader_stop(struct reader *reader); /* every lookup has been answered; NULL is fine */

/* A record as it is shown: what a session has now is `sending`. */
int reader_look_up(const struct store_ops *ops, struct store *store,
                   const struct flight_ledger *ledger, const char *id,
                   struct message_record **record_out, struct error *err);

#endif
