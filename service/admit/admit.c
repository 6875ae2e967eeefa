#include "admit/admit.h"

#include <assert.h>
#include <string.h>

#include "admit/make.h"
#include "admit/rights.h"
#include "base/clock.h"
#include "base/id.h"
#include "message/compose.h"

/* From the door until the answer; in the admission's arena. */
struct admit_pending {
    admit_result_fn *result;
    void *arg;
    struct queue *queue;
    const char *api_key;
    const char *idempotency_key; /* NULL: none */
};

bool admit_key_valid(const char *key)
{
    size_t n = strnlen(key, ADMIT_KEY_MAX + 1);
    bool good = n > 0 && n <= ADMIT_KEY_MAX;
    for (size_t i = 0; i < n; i++)
        good = good && key[i] >= ' ' && key[i] < 0x7f;
    return good;
}

/* --- the answer --------------------------------------------------------------------------- */

static void refuse(const struct admit_pending *pending, const struct error_list *errors)
{
    assert(errors->n_items > 0);
    const struct queue_answer answer = {.kind = QUEUE_REFUSED, .err = &errors->items[0]};
    pending->result(pending->arg, &(struct admit_result){
                                      .answer = &answer, .errors = errors, .pending = pending});
}

static void refuse_for(const struct admit_pending *pending, const struct error *why)
{
    struct error copy = *why;
    refuse(pending, &(struct error_list){.items = &copy, .n_items = 1, .n_total = 1});
}

static void on_answer(void *arg, const struct queue_answer *answer)
{
    const struct admit_pending *pending = arg;
    if (answer->kind == QUEUE_REFUSED)
        refuse_for(pending, answer->err);
    else
        pending->result(pending->arg, &(struct admit_result){.answer = answer, .pending = pending});
}

void admit_remember(const struct admit_result *result, int status, struct buffer *text)
{
    const struct admit_pending *pending = result->pending;
    if (pending->idempotency_key == NULL || text->failed || buffer_append_char(text, '\0') < 0)
        return;
    text->len--; /* the NUL is the queue's alone */
    queue_remember(pending->queue, pending->api_key, pending->idempotency_key, status, text->data);
}

/* --- the way in --------------------------------------------------------------------------- */

/* What is answered once it is kept, and noted with its key if it has one. */
static int take_receipt(const struct admission *admission, const struct admit_mail *wanted,
                        struct mail *mail, struct queue_request *request)
{
    struct admit_receipt receipt = {0};
    if (admission->kept != NULL && !admission->kept(wanted->arg, mail, &receipt))
        return -1;
    if (wanted->idempotency_key == NULL)
        return 0;
    request->answer_status = receipt.status;
    request->answer_body = arena_strndup(mail->arena, receipt.text, receipt.len);
    return request->answer_body != NULL ? 0 : -1;
}

/* Rights come before all that costs, and alone: who may not send is not told of anything else. */
static struct mail *prepare(const struct admit_door *door, const struct admission *admission,
                            const struct admit_mail *wanted, struct queue_request *request,
                            struct error_list *errors, struct error *err)
{
    const struct message *message = wanted->message;
    struct arena *arena = admission->arena;
    struct envelope envelope;
    struct composed composed;
    char id[ID_SIZE];
    int64_t now_ms = clock_wall_ms();
    id_new(now_ms, id);
    if (wanted->idempotency_key != NULL && !admit_key_valid(wanted->idempotency_key)) {
        error_set(err, ERR_MALFORMED, "an idempotency key has 1 to %d printable ASCII characters",
                  ADMIT_KEY_MAX);
        return NULL;
    }
    if (message_envelope(arena, message, &envelope, errors, err) < 0 ||
        rights_check(admission->api_key, message, &envelope, errors) < 0)
        return NULL;

    /* What else is wrong is told together. */
    bool known = rights_check_relay(door->config, door->sandbox, message, errors) == 0;
    const struct compose_options options = {
        .now_ms = now_ms, .id = id, .size_limit = ADMIT_CONTENT_MAX};
    if (message_compose(arena, message, &options, &composed, errors, err) < 0)
        return NULL;
    if (!known) {
        bytes_unref(composed.content);
        return NULL;
    }

    const struct mail_parts parts = {.now_ms = now_ms,
                                     .id = id,
                                     .api_key = admission->api_key,
                                     .max_age_ms = door->config->queue.max_age_ms,
                                     .message = message,
                                     .envelope = &envelope,
                                     .composed = &composed};
    CLEANUP(mail_free) struct mail *mail = mail_make(&parts);
    if (mail == NULL || take_receipt(admission, wanted, mail, request) < 0) {
        error_set(err, ERR_NOMEM, "message");
        return NULL;
    }
    return TAKE(mail);
}

/* With the last one `admission` may be gone once it is handed over. */
static void let_in(const struct admit_door *door, const struct admission *admission,
                   const struct admit_mail *mail, int64_t wait_ms)
{
    struct error err = {0};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    const struct config_api_key *key = admission->api_key;
    uint8_t fingerprint[STORE_FINGERPRINT_SIZE]; /* the face's may go when the mail is made */
    struct admit_pending noted = {.result = admission->result,
                                  .arg = mail->arg,
                                  .queue = door->queue,
                                  .api_key = key != NULL ? key->name : ""};
    struct admit_pending *pending = arena_alloc(admission->arena, sizeof(*pending));
    assert(mail->idempotency_key == NULL || (mail->fingerprint != NULL && admission->kept != NULL));
    if (mail->idempotency_key != NULL) {
        noted.idempotency_key = arena_strdup(admission->arena, mail->idempotency_key);
        memcpy(fingerprint, mail->fingerprint, sizeof(fingerprint));
    }
    if (pending != NULL && (noted.idempotency_key != NULL) == (mail->idempotency_key != NULL)) {
        *pending = noted;
        struct queue_request request = {.wait_ms = wait_ms,
                                        .key = noted.idempotency_key,
                                        .fingerprint = fingerprint,
                                        .answer = on_answer,
                                        .arg = pending};
        struct mail *made = prepare(door, admission, mail, &request, &errors, &err);
        if (made != NULL) {
            queue_submit(door->queue, made, &request);
            return;
        }
    }
    if (err.code == ERR_NONE && errors.n_items == 0)
        error_set(&err, ERR_NOMEM, "message");
    if (err.code != ERR_NONE)
        refuse_for(&noted, &err);
    else
        refuse(&noted, &errors);
}

static int64_t wait_of(const struct admit_door *door, int64_t wait_ms)
{
    bool in_memory = strncmp(door->config->queue.store, "memory:", 7) == 0;
    if (wait_ms <= 0)
        return in_memory ? ADMIT_WAIT_IN_MEMORY_MS : 0;
    return wait_ms < ADMIT_WAIT_MAX_MS ? wait_ms : ADMIT_WAIT_MAX_MS;
}

void admit(const struct admit_door *door, const struct admission *admission)
{
    int64_t wait_ms = wait_of(door, admission->wait_ms);
    size_t n = admission->n_mails;
    const struct admit_mail *mails = admission->mails;
    for (size_t i = 0; i < n; i++)
        let_in(door, admission, &mails[i], wait_ms);
}
