#include "verify/relay_verify.h"

#include <assert.h>
#include <stdlib.h>

/* --- somebody asked ------------------------------------------------------------------------ */

struct request {
    struct relay_task task; /* first: the relay gives it back as such */
    struct verify_options options;
    struct verify *verify; /* NULL: it has not begun */
    void (*done)(void *arg, const struct verify_report *report);
    void *arg;
};

static void on_done(void *arg, const struct verify_report *report)
{
    struct request *request = arg;
    request->done(request->arg, report);
    relay_task_end(&request->task);
    free(request);
}

static void begin(struct relay_task *task, uv_loop_t *loop)
{
    struct request *request = (struct request *)task;
    assert(request->verify == NULL);
    request->verify =
        verify_start(loop, relay_settings(task->relay), &request->options, on_done, request);
    if (request->verify == NULL) {
        struct verify_report report = {0};
        error_set(&report.error, ERR_NOMEM, "no memory for a verify");
        on_done(request, &report);
    }
}

static void give_up(struct relay_task *task)
{
    struct request *request = (struct request *)task;
    if (request->verify != NULL) {
        verify_abort(request->verify); /* comes to its end by on_done() */
        return;
    }
    struct verify_report report = {0};
    error_set(&report.error, ERR_DRAINING, "the gateway is shutting down");
    on_done(request, &report);
}

int relay_verify(struct relay *relay, void (*done)(void *arg, const struct verify_report *report),
                 void *arg, struct error *err)
{
    struct request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return error_set(err, ERR_NOMEM, "verify");
    request->task = (struct relay_task){.begin = begin, .abort = give_up};
    request->options.tokens = relay_tokens(relay);
    request->options.files = relay_files(relay);
    request->done = done;
    request->arg = arg;
    if (relay_task_post(relay, &request->task, err) == 0)
        return 0;
    free(request);
    return -1;
}

/* --- a relay asks --------------------------------------------------------------------------- */

struct search {
    struct verify *verify;
    void (*done)(void *arg, const struct explanation *found);
    void *arg;
};

static void on_found(void *arg, const struct verify_report *report)
{
    struct search *search = arg;
    const struct explanation found = {report->error, report->hint, report->hint_proved};
    bool wrong = !report->ok && report->error.code != ERR_NONE;
    search->done(search->arg, wrong ? &found : NULL);
    free(search);
}

static void *start_search(uv_loop_t *loop, const struct config_relay *relay,
                          const struct relay_files *files, const struct error *known,
                          void (*done)(void *arg, const struct explanation *found), void *arg)
{
    struct search *search = calloc(1, sizeof(*search));
    struct verify_options options = {.files = files, .no_login = true};
    if (search == NULL)
        return NULL;
    if (known != NULL)
        options.known = *known;
    *search = (struct search){.done = done, .arg = arg};
    search->verify = verify_start(loop, relay, &options, on_found, search);
    if (search->verify != NULL)
        return search;
    free(search);
    return NULL;
}

static void abort_search(void *explaining)
{
    struct search *search = explaining;
    verify_abort(search->verify);
}

const struct explainer verify_explainer = {.start = start_search, .abort = abort_search};
