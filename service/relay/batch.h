#ifndef POSTERN_RELAY_BATCH_H
#define POSTERN_RELAY_BATCH_H

/*
 * One delivery in a transaction: from its envelope to the verdicts that the queue gets. Recipients
 * that are held back are not in the envelope; theirs stays UNTRIED.
 */

#include "relay/state.h"
#include "smtp/reaction.h"

struct batch {
    struct batch *next;    /* of the connection's spare ones */
    struct mail *delivery; /* owned while it is under way */
    int64_t begun_us;
    const char **addresses; /* of the envelope; grown as needed */
    size_t n_addresses, size;
    struct buffer said; /* its part of the transcript */
};

struct batch *batch_new(void); /* NULL without memory */
void batch_free(struct batch *batch);

/* Takes the delivery on success. -1: no memory. */
int batch_load(struct batch *batch, struct mail *delivery, struct smtp_envelope *envelope_out);
/* Gives the delivery back; the batch may be loaded anew. */
struct mail *batch_unload(struct batch *batch);

/* What of a result concerns the relay. */
struct batch_news {
    const struct reaction *reaction;  /* NULL: nothing does */
    const struct reply_record *reply; /* ... and that is why; the delivery's */
    enum smtp_step step;
    int64_t n_untried; /* recipients */
    bool none_tried, any_sent;
};

/* Fill in the verdicts, count and log them. `fresh`: nothing was answered before on this
 * connection, so it was not idle for too long. */
void batch_judge(struct batch *batch, struct relay *relay, const struct smtp_result *result,
                 bool fresh, struct batch_news *news_out);

#endif
