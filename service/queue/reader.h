#ifndef POSTERN_QUEUE_READER_H
#define POSTERN_QUEUE_READER_H

/*
 * The thread that looks records up, so that a lookup waits for no sync and the API for no disk. It
 * also tells waiting clients what became of their messages, as that needs the record too.
 */

#include "queue/flight.h"
#include "queue/queue.h"
#include "queue/submission.h"

struct reader;

/* `ops`, `store` and `ledger` are borrowed for the reader's life. */
int reader_start(const struct store_ops *ops, struct store *store,
                 const struct flight_ledger *ledger, struct reader **reader_out, struct error *err);

/* `found` as for queue_find(). */
void reader_find(struct reader *reader, const char *id, queue_found_fn *found, void *arg);

/* Takes a submission whose wait has ended: `kind` is QUEUE_DONE, STORED or WITHDRAWN. A DONE whose
 * record cannot be read becomes STORED: what is safe may be looked up later. */
void reader_answer(struct reader *reader, struct submission *submission,
                   enum queue_answer_kind kind);

void reader_stop(struct reader *reader); /* when all have been answered; NULL is fine */

#endif
