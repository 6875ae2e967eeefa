#include "rig.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"

enum { PATIENCE_MS = 120000 };

struct fault fault;
atomic_int n_begun, max_batch;

static struct gate {
    struct lock lock; /* guards the two below */
    bool closed, in_front;
} gate;

/* --- a store that fails when told to ------------------------------------------------------ */

/* Subject of a submission that is answered after the commit and leaves nothing behind. */
static const char SYNC[] = "sync";

static const struct store_ops *real;

static bool fails(atomic_int *times, struct error *err)
{
    if (atomic_load(times) <= 0)
        return false;
    atomic_fetch_sub(times, 1);
    error_set(err, (enum error_code)atomic_load(&fault.code), "told to fail");
    return true;
}

static atomic_int n_purges;

static void pass_gate(void)
{
    lock_take(&gate.lock);
    gate.in_front = true;
    pthread_cond_broadcast(&gate.lock.changed);
    while (gate.closed)
        lock_wait(&gate.lock, INT64_MAX);
    gate.in_front = false;
    lock_drop(&gate.lock);
}

/* A disk that is full or broken fails no item alone. */
static bool fails_all(void)
{
    int code = atomic_load(&fault.code);
    return code == ERR_STORE_FULL || code == ERR_STORE_BROKEN;
}

/* Items that are told to fail are left out of what the real store sees: `NAME` of the turn, of
 * which `kept` says where each of them is now. -1: the whole turn is to fail. */
#define LEAVE_OUT(turn, NAME, times)                                                               \
    do {                                                                                           \
        size_t n_kept = 0;                                                                         \
        for (size_t i = 0; i < (turn)->n_##NAME; i++) {                                            \
            struct error *why = arena_alloc((turn)->arena, sizeof(*why));                          \
            if (!fails(times, why)) {                                                              \
                real_turn.NAME[n_kept] = (turn)->NAME[i];                                          \
                kept_##NAME[n_kept++] = i;                                                         \
            } else if (fails_all()) {                                                              \
                *err = *why;                                                                       \
                return -1;                                                                         \
            } else {                                                                               \
                (turn)->NAME[i].fault = why;                                                       \
            }                                                                                      \
        }                                                                                          \
        real_turn.n_##NAME = n_kept;                                                               \
    } while (0)

#define COPY_OF(turn, NAME)                                                                        \
    real_turn.NAME =                                                                               \
        arena_alloc_array((turn)->arena, (turn)->n_##NAME + 1, sizeof(*real_turn.NAME));           \
    size_t *kept_##NAME =                                                                          \
        arena_alloc_array((turn)->arena, (turn)->n_##NAME + 1, sizeof(*kept_##NAME))

#define GIVE_BACK(turn, NAME)                                                                      \
    for (size_t i = 0; i < real_turn.n_##NAME; i++)                                                \
    (turn)->NAME[kept_##NAME[i]] = real_turn.NAME[i]

/* Submissions that rig_sync() makes are answered, and leave nothing behind. */
static void leave_out_syncs(struct store_turn *turn, struct store_turn *real_turn, size_t *kept)
{
    size_t n = 0;
    for (size_t i = 0; i < real_turn->n_submissions; i++)
        if (strcmp(real_turn->submissions[i].mail->subject, SYNC) != 0) {
            kept[n] = kept[i];
            real_turn->submissions[n++] = real_turn->submissions[i];
        } else {
            turn->submissions[kept[i]].result = STORE_SUBMIT_MISMATCH;
        }
    real_turn->n_submissions = n;
}

static int faulty_commit(struct store *store, struct store_turn *turn, struct error *err)
{
    struct store_turn real_turn = *turn;
    COPY_OF(turn, outcomes);
    COPY_OF(turn, answers);
    COPY_OF(turn, cancels);
    COPY_OF(turn, submissions);
    size_t n = turn->n_outcomes + turn->n_answers + turn->n_cancels + turn->n_submissions;
    if (turn->purge.max_n > 0) {
        atomic_fetch_add(&n_purges, 1);
        if (n == 0 && turn->load.max_n == 0) /* it comes by the clock: failures are for others */
            return real->commit(store, turn, err);
    }
    atomic_fetch_add(&n_begun, 1);
    LEAVE_OUT(turn, outcomes, &fault.settle);
    LEAVE_OUT(turn, answers, &fault.answer);
    LEAVE_OUT(turn, cancels, &fault.cancel);
    atomic_int never = 0;
    bool only_syncs = true;
    for (size_t i = 0; i < turn->n_submissions; i++)
        only_syncs &= strcmp(turn->submissions[i].mail->subject, SYNC) == 0;
    LEAVE_OUT(turn, submissions, only_syncs ? &never : &fault.submit);
    leave_out_syncs(turn, &real_turn, kept_submissions);
    struct error why;
    if (turn->load.max_n > 0 && fails(&fault.load, &why)) {
        real_turn.load.max_n = 0;
        struct error *copy = arena_alloc(turn->arena, sizeof(*copy));
        *copy = why;
        turn->load.fault = copy;
    }
    pass_gate();
    if (fails(&fault.commit, err) || real->commit(store, &real_turn, err) < 0)
        return -1;
    GIVE_BACK(turn, outcomes);
    GIVE_BACK(turn, answers);
    GIVE_BACK(turn, cancels);
    GIVE_BACK(turn, submissions);
    if (turn->load.fault == NULL)
        turn->load = real_turn.load;
    turn->purge = real_turn.purge;
    if ((int)real_turn.n_submissions > atomic_load(&max_batch))
        atomic_store(&max_batch, (int)real_turn.n_submissions);
    return 0;
}

static const struct store_ops *faulty(bool memory)
{
    static struct store_ops ops;
    real = memory ? &store_memory : &store_sqlite;
    ops = *real;
    ops.commit = faulty_commit;
    return &ops;
}

void gate_close(void)
{
    lock_take(&gate.lock);
    gate.closed = true;
    gate.in_front = false;
    lock_drop(&gate.lock);
}

void gate_await(void)
{
    lock_take(&gate.lock);
    while (!gate.in_front)
        lock_wait(&gate.lock, INT64_MAX);
    lock_drop(&gate.lock);
}

void gate_open(void)
{
    lock_take(&gate.lock);
    gate.closed = false;
    pthread_cond_broadcast(&gate.lock.changed);
    lock_drop(&gate.lock);
}

/* --- the rig ------------------------------------------------------------------------------ */

static void on_ready(void *arg, struct mail *list)
{
    struct rig *rig = arg;
    lock_take(&rig->lock);
    *rig->last = list;
    for (; list != NULL; list = list->next) {
        rig->last = &list->next;
        rig->n_ready++;
    }
    pthread_cond_broadcast(&rig->lock.changed);
    lock_drop(&rig->lock);
}

void rig_init(struct rig *rig, bool memory)
{
    static const int64_t retry_ms[] = {30, 60};
    *rig = (struct rig){.memory = memory};
    rig->last = &rig->first;
    lock_init(&rig->lock);
    lock_init(&gate.lock);
    strcpy(rig->folder, "/tmp/postern-queue-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->folder));
    if (!memory)
        snprintf(rig->location, sizeof(rig->location), "%s/queue.db", rig->folder);
    rig->settings = (struct queue_settings){.retry_ms = retry_ms,
                                            .n_retry = 2,
                                            .max_age_ms = 3600000,
                                            .retain_record_ms = 3600000,
                                            .in_memory_bytes = 1 << 20,
                                            .ready = on_ready,
                                            .arg = rig};
    atomic_store(&fault.code, ERR_STORE_UNAVAILABLE);
}

void rig_open_unstarted(struct rig *rig)
{
    struct error err = {0};
    int before = atomic_load(&n_purges);
    int rc = queue_open_with(faulty(rig->memory), rig->location, &rig->settings, &rig->queue, &err);
    cr_assert_eq(rc, 0, "%s", err.detail);
    while (atomic_load(&n_purges) == before)
        usleep(100);
    rig_sync(rig);
}

void rig_open(struct rig *rig)
{
    rig_open_unstarted(rig);
    cr_assert_eq(queue_start(rig->queue, NULL), 0);
    rig_sync(rig); /* it looks into the store once */
}

void rig_abandon(struct mail *delivery)
{
    claim_unref(delivery->claim);
    mail_free(delivery);
}

void rig_close(struct rig *rig)
{
    queue_free(rig->queue);
    rig->queue = NULL;
    for (struct mail *delivery = rig->first, *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        rig_abandon(delivery);
    }
    rig->first = NULL;
    rig->last = &rig->first;
    rig->n_ready = 0;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

void rig_clear(struct rig *rig)
{
    rig_close(rig);
    nftw(rig->folder, drop, 8, FTW_DEPTH | FTW_PHYS);
    lock_clear(&rig->lock);
    lock_clear(&gate.lock);
}

/* --- the client --------------------------------------------------------------------------- */

static void keep_record(struct told *told, const struct mail *record)
{
    told->n_recipients = 0;
    if (record == NULL)
        return;
    told->n_recipients = record->n_recipients;
    told->n_events = record->n_events;
    snprintf(told->message_status, sizeof(told->message_status), "%s", mail_status(record));
    for (size_t i = 0; i < record->n_recipients && i < 4; i++) {
        told->recipients[i] = record->recipients[i];
        told->recipients[i].address = told->recipients[i].relay = NULL;
    }
}

static void on_answer(void *arg, const struct queue_answer *answer)
{
    struct told *told = arg;
    struct rig *rig = told->rig;
    lock_take(&rig->lock);
    told->times++;
    told->kind = answer->kind;
    told->code = answer->err != NULL ? answer->err->code : ERR_NONE;
    told->status = answer->status;
    snprintf(told->body, sizeof(told->body), "%s", answer->body != NULL ? answer->body : "");
    keep_record(told, answer->record);
    pthread_cond_broadcast(&rig->lock.changed);
    lock_drop(&rig->lock);
}

static struct mail *make_mail(const struct letter *letter)
{
    struct mail *mail = mail_new();
    mail->message_id = "<1@example.com>";
    mail->from = mail->sender = "a@example.com";
    mail->subject = "s";
    mail->api_key = "k";
    mail->options = (struct mail_options){
        .relay = "primary", .priority = letter->priority, .dsn = {.notify = "NEVER"}};
    mail->created_ms = clock_wall_ms() - letter->age_ms;
    mail->expires_ms = mail->created_ms + (letter->max_age_ms > 0 ? letter->max_age_ms : 3600000);
    mail_reserve_recipients(mail, letter->n_recipients > 0 ? letter->n_recipients : 1);
    for (size_t i = 0; i < mail->n_recipients; i++)
        mail->recipients[i].address = arena_printf(mail->arena, "r%zu@example.net", i);
    mail->content = bytes_new(letter->size > 0 ? letter->size : 10);
    mail->size = (int64_t)mail->content->len;
    memset(mail->content->data, 'x', mail->content->len);
    id_new(mail->created_ms, mail->id);
    return mail;
}

static void submit(struct rig *rig, struct mail *mail, const struct letter *letter,
                   struct told *told)
{
    uint8_t fingerprint[STORE_FINGERPRINT_SIZE] = {0};
    if (letter->request != NULL)
        strncpy((char *)fingerprint, letter->request, sizeof(fingerprint));
    queue_submit(rig->queue, mail,
                 &(struct queue_request){.wait_ms = letter->wait_ms,
                                         .key = letter->key,
                                         .fingerprint = fingerprint,
                                         .answer_status = 202,
                                         .answer_body = "{\"first\":1}",
                                         .answer = on_answer,
                                         .arg = told});
}

void rig_submit(struct rig *rig, const struct letter *letter, struct told *told)
{
    struct mail *mail = make_mail(letter);
    *told = (struct told){.rig = rig};
    memcpy(told->id, mail->id, ID_SIZE);
    submit(rig, mail, letter, told);
}

void told_wait(struct told *told)
{
    struct rig *rig = told->rig;
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    lock_take(&rig->lock);
    while (told->times == 0 && clock_mono_ms() < until_ms)
        lock_wait(&rig->lock, until_ms);
    size_t times = told->times;
    lock_drop(&rig->lock);
    cr_assert_eq(times, 1, "answered %zu times", times);
}

bool told_yet(struct told *told)
{
    lock_take(&told->rig->lock);
    bool yet = told->times > 0;
    lock_drop(&told->rig->lock);
    return yet;
}

void rig_send(struct rig *rig, const struct letter *letter, struct told *told)
{
    rig_submit(rig, letter, told);
    told_wait(told);
}

static void on_found(void *arg, const struct mail *record, const struct error *err)
{
    struct told *told = arg;
    lock_take(&told->rig->lock);
    told->times++;
    told->code = err != NULL ? err->code : ERR_NONE;
    keep_record(told, record);
    pthread_cond_broadcast(&told->rig->lock.changed);
    lock_drop(&told->rig->lock);
}

void rig_find(struct rig *rig, const char *id, struct told *told)
{
    *told = (struct told){.rig = rig};
    queue_find(rig->queue, id, on_found, told);
    told_wait(told);
}

void rig_await(struct rig *rig, const char *id, enum recipient_status status)
{
    struct told found;
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    do
        rig_find(rig, id, &found);
    while ((found.n_recipients == 0 || found.recipients[0].status != status) &&
           clock_mono_ms() < until_ms);
    cr_assert(found.n_recipients > 0 && found.recipients[0].status == status, "%s is %s", id,
              found.message_status);
}

/* Twice: the first is answered before its turn hands out what is ready. */
void rig_sync(struct rig *rig)
{
    for (int i = 0; i < 2; i++) {
        struct told told = {.rig = rig};
        const struct letter letter = {.wait_ms = rig->memory ? PATIENCE_MS : 0};
        struct mail *mail = make_mail(&letter);
        mail->subject = SYNC;
        submit(rig, mail, &letter, &told);
        told_wait(&told);
    }
}

/* --- the relay ---------------------------------------------------------------------------- */

struct mail *rig_next(struct rig *rig)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    lock_take(&rig->lock);
    while (rig->first == NULL && clock_mono_ms() < until_ms)
        lock_wait(&rig->lock, until_ms);
    struct mail *delivery = rig->first;
    if (delivery != NULL) {
        rig->first = delivery->next;
        if (rig->first == NULL)
            rig->last = &rig->first;
        rig->n_ready--;
        delivery->next = NULL;
    }
    lock_drop(&rig->lock);
    cr_assert_not_null(delivery, "nothing is ready");
    return delivery;
}

void rig_does_not_hurry(void)
{
    int64_t begun_ms = clock_mono_ms();
    int before = atomic_load(&n_begun);
    usleep(200000);
    int n = atomic_load(&n_begun) - before;
    cr_assert_lt(n, 20 * (1 + (clock_mono_ms() - begun_ms) / TROUBLE_MS));
}

size_t rig_n_ready(struct rig *rig)
{
    lock_take(&rig->lock);
    size_t n = rig->n_ready;
    lock_drop(&rig->lock);
    return n;
}

struct mail *rig_depart(struct rig *rig)
{
    struct mail *delivery = rig_next(rig);
    delivery->relay = "primary";
    delivery->hold_in_doubt = rig->hold;
    cr_assert_eq(queue_depart(rig->queue, delivery), QUEUE_DEPARTS);
    return delivery;
}

void rig_settle(struct rig *rig, struct mail *delivery, enum delivery_verdict verdict, int code)
{
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        delivery->recipients[i].verdict = verdict;
        delivery->recipients[i].reply = (struct reply_record){.code = code};
    }
    queue_settle(rig->queue, delivery);
}
