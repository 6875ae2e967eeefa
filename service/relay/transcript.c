#include "relay/transcript.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"

enum {
    BUCKETS_MIN = 16,
    BYTES_A_BUCKET = 1024, /* about what a transcript takes, so that chains stay short */
};

struct transcript {
    struct transcript *next, *prev; /* of its kind: the newest first */
    struct transcript *chained;     /* of its bucket */
    char id[ID_SIZE];
    bool good;
    const char *relay;
    int64_t at_ms;
    struct bytes *connection; /* one reference; NULL: nothing */
    size_t len;
    char text[];
};

struct kind {
    struct transcript *newest, *oldest;
    size_t bytes;
};

struct transcripts {
    struct lock lock; /* guards all below; nothing is taken under it */
    size_t half;      /* most bytes of each kind */
    struct kind good, bad;
    size_t n_buckets; /* a power of two */
    struct transcript *buckets[];
};

/* The connection is counted anew for each message on it: the bound must hold even when each has
 * one of its own. */
static size_t size_of(const struct transcript *t)
{
    return sizeof(*t) + t->len + (t->connection != NULL ? t->connection->len : 0);
}

static void free_transcript(struct transcript *t)
{
    if (t != NULL)
        bytes_unref(t->connection);
    free(t);
}

/* --- places, under the lock --------------------------------------------------------------- */

static struct kind *kind_of(struct transcripts *ts, const struct transcript *t)
{
    assert(lock_held_by_me(&ts->lock));
    return t->good ? &ts->good : &ts->bad;
}

/* FNV-1a. Ids are ours, so nobody can aim at one bucket. */
static struct transcript **bucket_of(struct transcripts *ts, const char *id)
{
    assert(lock_held_by_me(&ts->lock));
    uint64_t hash = 14695981039346656037u;
    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 1099511628211u;
    return &ts->buckets[hash & (ts->n_buckets - 1)];
}

static struct transcript *look_up(struct transcripts *ts, const char *id)
{
    assert(lock_held_by_me(&ts->lock));
    struct transcript *t = *bucket_of(ts, id);
    while (t != NULL && strcmp(t->id, id) != 0)
        t = t->chained;
    return t;
}

static void insert(struct transcripts *ts, struct transcript *t)
{
    assert(lock_held_by_me(&ts->lock));
    struct kind *kind = kind_of(ts, t);
    struct transcript **bucket = bucket_of(ts, t->id);
    t->chained = *bucket;
    *bucket = t;
    t->prev = NULL;
    t->next = kind->newest;
    *(t->next != NULL ? &t->next->prev : &kind->oldest) = t;
    kind->newest = t;
    kind->bytes += size_of(t);
}

static struct transcript *take_out(struct transcripts *ts, struct transcript *t)
{
    assert(lock_held_by_me(&ts->lock));
    struct kind *kind = kind_of(ts, t);
    struct transcript **link = bucket_of(ts, t->id);
    while (*link != t)
        link = &(*link)->chained;
    *link = t->chained;
    *(t->prev != NULL ? &t->prev->next : &kind->newest) = t->next;
    *(t->next != NULL ? &t->next->prev : &kind->oldest) = t->prev;
    kind->bytes -= size_of(t);
    return t;
}

/* Make room for `t` and put it in; returns those forgotten, chained. */
static struct transcript *exchange(struct transcripts *ts, struct transcript *t)
{
    assert(lock_held_by_me(&ts->lock));
    struct kind *kind = kind_of(ts, t);
    struct transcript *forgotten = look_up(ts, t->id);
    if (forgotten != NULL)
        take_out(ts, forgotten)->chained = NULL;
    if (size_of(t) > ts->half) {
        t->chained = forgotten;
        return t;
    }
    while (kind->bytes + size_of(t) > ts->half) {
        struct transcript *oldest = take_out(ts, kind->oldest);
        oldest->chained = forgotten;
        forgotten = oldest;
    }
    insert(ts, t);
    return forgotten;
}

/* --- for all ------------------------------------------------------------------------------ */

struct transcripts *transcripts_new(size_t max_bytes)
{
    size_t n_buckets = BUCKETS_MIN;
    while (n_buckets < max_bytes / BYTES_A_BUCKET)
        n_buckets *= 2;
    size_t own = sizeof(struct transcripts) + n_buckets * sizeof(struct transcript *);
    struct transcripts *ts = calloc(1, own);
    if (ts == NULL)
        return NULL;
    lock_init(&ts->lock);
    ts->half = max_bytes > own ? (max_bytes - own) / 2 : 0;
    ts->n_buckets = n_buckets;
    return ts;
}

static void free_kind(struct kind *kind)
{
    for (struct transcript *t = kind->newest, *next; t != NULL; t = next) {
        next = t->next;
        free_transcript(t);
    }
}

void transcripts_free(struct transcripts *ts)
{
    if (ts == NULL)
        return;
    free_kind(&ts->good);
    free_kind(&ts->bad);
    lock_clear(&ts->lock);
    free(ts);
}

static struct transcript *make(const char id[ID_SIZE], const char *relay, bool good,
                               struct bytes *connection, const char *text, size_t len)
{
    struct transcript *t = malloc(sizeof(*t) + len);
    if (t == NULL)
        return NULL;
    *t = (struct transcript){.good = good, .relay = relay, .at_ms = clock_wall_ms(), .len = len};
    memcpy(t->id, id, ID_SIZE);
    memcpy(t->text, text, len);
    t->connection = connection != NULL ? bytes_ref(connection) : NULL;
    return t;
}

void transcripts_keep(struct transcripts *ts, const char id[ID_SIZE], const char *relay, bool good,
                      struct bytes *connection, const char *text, size_t len)
{
    struct transcript *t = make(id, relay, good, connection, text, len);
    if (t == NULL)
        return;
    lock_take(&ts->lock);
    struct transcript *forgotten = exchange(ts, t);
    lock_drop(&ts->lock);
    for (struct transcript *next; forgotten != NULL; forgotten = next) {
        next = forgotten->chained;
        free_transcript(forgotten);
    }
}

static char *whole_text(const struct transcript *t)
{
    size_t begun = t->connection != NULL ? t->connection->len : 0;
    char *text = malloc(begun + t->len + 1);
    if (text == NULL)
        return NULL;
    if (begun > 0)
        memcpy(text, t->connection->data, begun);
    memcpy(text + begun, t->text, t->len);
    text[begun + t->len] = '\0';
    return text;
}

char *transcripts_find(struct transcripts *ts, const char *id, const char **relay_out,
                       int64_t *at_ms_out)
{
    lock_take(&ts->lock);
    const struct transcript *t = look_up(ts, id);
    char *text = t != NULL ? whole_text(t) : NULL;
    if (text != NULL) {
        *relay_out = t->relay;
        *at_ms_out = t->at_ms;
    }
    lock_drop(&ts->lock);
    return text;
}
