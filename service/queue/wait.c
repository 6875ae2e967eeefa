#include "queue/wait.h"

#include <stdbool.h>

static size_t bucket_of(int64_t seq)
{
    return (uint64_t)seq % WAIT_BUCKETS;
}

/* An overdue one waits for a session, not for a time. */
static void note_deadline(struct waiters *waiters, const struct submission *submission)
{
    if (!submission->overdue && submission->deadline_ms < waiters->next_deadline_ms)
        waiters->next_deadline_ms = submission->deadline_ms;
}

static struct submission *unlink_at(struct waiters *waiters, struct submission **at)
{
    struct submission *submission = *at;
    *at = submission->next;
    submission->next = NULL;
    waiters->n--;
    if (waiters->n == 0)
        waiters->next_deadline_ms = INT64_MAX;
    return submission;
}

void waiters_init(struct waiters *waiters)
{
    *waiters = (struct waiters){.next_deadline_ms = INT64_MAX};
}

void waiters_add(struct waiters *waiters, struct submission *submission)
{
    struct submission **bucket = &waiters->buckets[bucket_of(submission->seq)];
    submission->next = *bucket;
    *bucket = submission;
    waiters->n++;
    note_deadline(waiters, submission);
}

struct submission *waiters_find(const struct waiters *waiters, int64_t seq)
{
    struct submission *submission = waiters->buckets[bucket_of(seq)];
    while (submission != NULL && submission->seq != seq)
        submission = submission->next;
    return submission;
}

struct submission *waiters_take(struct waiters *waiters, int64_t seq)
{
    for (struct submission **at = &waiters->buckets[bucket_of(seq)]; *at != NULL; at = &(*at)->next)
        if ((*at)->seq == seq)
            return unlink_at(waiters, at);
    return NULL;
}

/* Looks at all: deadlines differ from client to client, and most outcomes come long before. */
struct submission *waiters_take_due(struct waiters *waiters, int64_t now_ms)
{
    struct submission *due = NULL;
    if (now_ms < waiters->next_deadline_ms)
        return NULL;
    waiters->next_deadline_ms = INT64_MAX;
    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        for (struct submission **at = &waiters->buckets[i]; *at != NULL;) {
            if ((*at)->overdue || (*at)->deadline_ms > now_ms) {
                note_deadline(waiters, *at);
                at = &(*at)->next;
                continue;
            }
            struct submission *submission = unlink_at(waiters, at);
            submission->next = due;
            due = submission;
        }
    return due;
}

struct submission *waiters_take_all(struct waiters *waiters)
{
    struct submission *all = NULL;
    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        while (waiters->buckets[i] != NULL) {
            struct submission *submission = unlink_at(waiters, &waiters->buckets[i]);
            submission->next = all;
            all = submission;
        }
    return all;
}
