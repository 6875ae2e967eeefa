/* A verify that somebody asked for, on the loop of the relay's first slot. */

#include <stdlib.h>

#include "relay/state.h"

struct inspection {
    struct worker_job job;
    struct inspection *next; /* of the slot's that have begun */
    struct relay *relay;
    struct verify_options options;
    struct verify *verify;
    void (*done)(void *arg, const struct verify_report *report);
    void *arg;
};

static void unlink_inspection(struct inspection *inspection)
{
    struct inspection **at = &inspection->relay->slots[0].inspections;
    while (*at != NULL && *at != inspection)
        at = &(*at)->next;
    if (*at != NULL)
        *at = inspection->next;
}

static void on_done(void *arg, const struct verify_report *report)
{
    struct inspection *inspection = arg;
    struct relay *relay = inspection->relay;
    unlink_inspection(inspection);
    inspection->done(inspection->arg, report);
    free(inspection);
    pthread_mutex_lock(&relay->lock);
    relay->n_inspections--;
    pthread_mutex_unlock(&relay->lock);
}

static void give_up(struct inspection *inspection, enum error_code code, const char *why)
{
    struct verify_report report = {0};
    error_set(&report.error, code, "%s", why);
    on_done(inspection, &report);
}

static void begin(struct worker_job *job, uv_loop_t *loop)
{
    struct inspection *inspection = (struct inspection *)job; /* its first member */
    struct relay *relay = inspection->relay;
    pthread_mutex_lock(&relay->lock);
    bool aborting = relay->aborting;
    pthread_mutex_unlock(&relay->lock);
    if (aborting) {
        give_up(inspection, ERR_DRAINING, "the gateway is shutting down");
        return;
    }
    inspection->next = relay->slots[0].inspections;
    relay->slots[0].inspections = inspection;
    inspection->verify =
        verify_start(loop, relay->settings, &inspection->options, on_done, inspection);
    if (inspection->verify == NULL)
        give_up(inspection, ERR_NOMEM, "no memory for a verify");
}

/* No new ones in the drain, which waits for those under way. */
static bool is_admitted(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    bool admitted = !relay->draining && !relay->aborting;
    if (admitted)
        relay->n_inspections++;
    pthread_mutex_unlock(&relay->lock);
    return admitted;
}

int relay_verify(struct relay *relay, const struct verify_options *options,
                 void (*done)(void *arg, const struct verify_report *report), void *arg,
                 struct error *err)
{
    struct inspection *inspection = calloc(1, sizeof(*inspection));
    if (inspection == NULL)
        return error_set(err, ERR_NOMEM, "verify");
    if (!is_admitted(relay)) {
        free(inspection);
        return error_set(err, ERR_DRAINING, "the gateway is shutting down");
    }
    *inspection = (struct inspection){
        .job.run = begin, .relay = relay, .options = *options, .done = done, .arg = arg};
    inspection->options.tokens = relay->around.tokens;
    inspection->options.files = &relay->files;
    workers_post(relay->around.workers, 0, &inspection->job);
    return 0;
}

void inspections_abort(struct relay_slot *slot)
{
    while (slot->inspections != NULL) {
        struct inspection *inspection = slot->inspections;
        slot->inspections = inspection->next; /* it comes to its end by on_done() */
        verify_abort(inspection->verify);
    }
}
