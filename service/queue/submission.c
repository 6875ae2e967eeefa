#include "queue/submission.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "queue/claim.h"

struct submission *submission_new(struct mail *mail, const struct queue_request *request)
{
    bool has_key = request->key != NULL;
    size_t n_key = has_key ? strlen(request->key) + 1 : 0;
    size_t n_api_key = has_key ? strlen(mail->api_key) + 1 : 0;
    size_t n_print = has_key ? STORE_FINGERPRINT_SIZE : 0;
    struct submission *s = calloc(1, sizeof(*s) + n_key + n_api_key + n_print);
    if (s == NULL)
        return NULL;
    char *text = (char *)(s + 1);
    s->mail = mail;
    memcpy(s->id, mail->id, sizeof(s->id));
    s->answer = request->answer;
    s->arg = request->arg;
    if (request->wait_ms > 0)
        s->deadline_ms = clock_mono_ms() + request->wait_ms;
    if (!has_key)
        return s;
    s->key = memcpy(text, request->key, n_key);
    s->api_key = memcpy(text + n_key, mail->api_key, n_api_key);
    s->fingerprint = memcpy(text + n_key + n_api_key, request->fingerprint, n_print);
    s->answer_status = request->wait_ms > 0 ? 0 : request->answer_status;
    s->answer_body = request->answer_body;
    return s;
}

void submission_free(struct submission *submission)
{
    if (submission == NULL)
        return;
    mail_free(submission->mail);
    claim_unref(submission->claim);
    free(submission);
}

void submission_answer(struct submission *submission, const struct queue_answer *answer)
{
    submission->answer(submission->arg, answer);
    submission_free(submission);
}
