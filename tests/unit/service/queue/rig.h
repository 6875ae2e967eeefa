#ifndef POSTERN_TESTS_QUEUE_RIG_H
#define POSTERN_TESTS_QUEUE_RIG_H

/*
 * A queue in a folder of its own with a relay's place left to the test: what is ready is taken from
 * a list, what was answered is kept. Between queue and store stands a layer that fails when told
 * to.
 */

#include "base/lock.h"
#include "queue/internal.h"

struct rig {
    char folder[64];
    char location[128]; /* of the store's file; "" in memory */
    bool memory;
    bool hold; /* the relay's on_in_doubt */
    struct queue_settings settings;
    struct queue *queue;
    struct lock lock; /* guards the two below, and every told */
    struct mail *first, **last;
    size_t n_ready; /* in the list */
};

/* What a client was told. */
struct told {
    struct rig *rig;
    size_t times;
    enum queue_answer_kind kind;
    enum error_code code;                /* REFUSED */
    int status;                          /* REPLAY */
    char body[64];                       /* REPLAY */
    char id[ID_SIZE];                    /* of the message that was submitted */
    size_t n_recipients;                 /* of the record; 0: there was none */
    struct mail_recipient recipients[4]; /* its first; addresses and relays are not kept */
    char message_status[16];
    size_t n_events;
};

struct letter { /* what rig_submit() makes; zero is a message to one */
    size_t n_recipients;
    size_t size;
    int64_t wait_ms;
    int64_t max_age_ms; /* 0: an hour */
    int64_t age_ms;     /* created so long ago */
    const char *key;
    const char *request; /* what the key is for */
    enum mail_priority priority;
};

void rig_init(struct rig *rig, bool memory); /* settings may be changed before rig_open() */
void rig_open(struct rig *rig);
void rig_open_unstarted(struct rig *rig);
void rig_close(struct rig *rig); /* the queue alone: it can be opened again */
/* What a session had when the queue was closed, as if the process had died. */
void rig_abandon(struct mail *delivery);
void rig_clear(struct rig *rig); /* and its files */

void rig_submit(struct rig *rig, const struct letter *letter, struct told *told);
void told_wait(struct told *told); /* fails the test after a while */
bool told_yet(struct told *told);
/* Both at once. */
void rig_send(struct rig *rig, const struct letter *letter, struct told *told);
/* As GET does. `told` is filled as if by an answer; `code` is ERR_NOT_FOUND, ... */
void rig_find(struct rig *rig, const char *id, struct told *told);

struct mail *rig_next(struct rig *rig);   /* the next ready one, or the test fails */
struct mail *rig_depart(struct rig *rig); /* that, with a transaction begun */
/* The same verdict for all its recipients. */
void rig_settle(struct rig *rig, struct mail *delivery, enum delivery_verdict verdict, int code);
/* Until a lookup says so of its first recipient. */
void rig_await(struct rig *rig, const char *id, enum recipient_status status);
/* What was posted before has been through a whole turn of the queue. */
void rig_sync(struct rig *rig);
size_t rig_n_ready(struct rig *rig);
/* What fails is tried again after a pause: the store is not asked more often than that, by far. */
void rig_does_not_hurry(void);

/* How often a function of the store fails from now on, and with what. */
struct fault {
    atomic_int submit, answer, settle, cancel, load, commit;
    atomic_int code; /* enum error_code */
};
extern struct fault fault;
extern atomic_int n_begun;   /* turns given to the store */
extern atomic_int max_batch; /* most submissions in a transaction that was committed */

void gate_close(void); /* a commit waits from now on, before it does anything */
void gate_await(void); /* until one does */
void gate_open(void);

#endif
