#include "relay/state.h"

#include "base/clock.h"
#include "base/log.h"

enum {
    TICK_MS = 250,
    CAP_RAISE_MS = 60 * 1000,    /* a cap that was learned is tried again by one, that often */
    PROBING_MS = 3 * 1000,       /* who has not let us in by then keeps us waiting at the door */
    RATE_PATIENCE_MS = 10 * 1000 /* mail waits so long for its turn, rather than go elsewhere */
};

/* --- how many connections ----------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* May a transaction begin now? */
static bool carries_now(const struct relay *relay, int64_t now_ms)
{
    return !relay->paused && !relay->draining && !relay->aborting &&
           backoff_open(&relay->traffic, now_ms) &&
           rate_open_at(relay->messages, now_ms) <= now_ms &&
           rate_open_at(relay->recipients, now_ms) <= now_ms;
}

/* How many connections may be opened right now. */
static size_t openable(const struct relay *relay, int64_t now_ms)
{
    if (!carries_now(relay, now_ms) || !backoff_open(&relay->entry, now_ms))
        return 0;
    size_t most = smaller(relay->limit, relay->cap);
    size_t room = relay->n_connections < most ? most - relay->n_connections : 0;
    if (relay->entry.n_failures > 0) /* one probe */
        return relay->n_opening == 0 ? smaller(room, 1) : 0;
    return room;
}

static struct relay_slot *emptiest(struct relay *relay)
{
    struct relay_slot *best = &relay->slots[0];
    for (size_t i = 1; i < relay->n_slots; i++)
        if (relay->slots[i].n_connections < best->n_connections)
            best = &relay->slots[i];
    return best;
}

/* Since when do we try to get in, while nobody is inside? */
static void note_probing(struct relay *relay, int64_t now_ms)
{
    if (relay->n_opening == 0 || relay->n_connections > relay->n_opening)
        relay->probing_ms = 0;
    else if (relay->probing_ms == 0)
        relay->probing_ms = now_ms;
}

static uint64_t open_one(struct relay *relay, int64_t now_ms)
{
    struct relay_slot *slot = emptiest(relay);
    slot->to_open++;
    slot->n_connections++;
    relay->n_connections++;
    relay->n_opening++;
    note_probing(relay, now_ms);
    return UINT64_C(1) << slot->worker;
}

static uint64_t wake_idle(struct relay *relay, size_t *wanted)
{
    uint64_t wake = 0;
    for (size_t i = 0; i<relay->n_slots && * wanted> 0; i++)
        if (relay->slots[i].n_idle > 0) {
            wake |= UINT64_C(1) << i;
            *wanted -= smaller(relay->slots[i].n_idle, *wanted);
        }
    return wake;
}

/* A relay that is down is probed for mail that went elsewhere, too. */
static size_t connections_wanted(const struct relay *relay)
{
    return relay->ready.n == 0 && relay->down && relay->wanted ? 1 : relay->ready.n;
}

/* Which slots to call, as bits; under the lock. */
static uint64_t plan(struct relay *relay)
{
    int64_t now_ms = clock_mono_ms();
    size_t wanted = connections_wanted(relay);
    bool waits = (wanted > 0 || relay->wanted) && !relay->draining;
    uint64_t wake = carries_now(relay, now_ms) ? wake_idle(relay, &wanted) : 0;
    wanted -= smaller(relay->n_opening, wanted); /* those will each take one */
    for (size_t n = openable(relay, now_ms); n > 0 && wanted > 0; n--, wanted--)
        wake |= open_one(relay, now_ms);
    if (wake == 0 && waits && relay->n_connections == 0)
        wake = 1; /* somebody must watch the clock: pauses end, mail expires */
    return wake;
}

static void wake_slots(struct relay *relay, uint64_t wake)
{
    for (size_t i = 0; i < relay->n_slots; i++)
        if (wake & UINT64_C(1) << i)
            workers_post(relay->around.workers, i, &relay->slots[i].job);
}

void pool_plan(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    uint64_t wake = plan(relay);
    pthread_mutex_unlock(&relay->lock);
    wake_slots(relay, wake);
}

/* --- who gets the next delivery ----------------------------------------------------------- */

/* More goes onto a connection that is busy only if every other one could have some too: no message
 * waits behind a slow reply while another connection could carry it. */
static bool may_deepen(const struct relay *relay, int64_t now_ms)
{
    return relay->ready.n >= relay->n_connections && openable(relay, now_ms) == 0;
}

static int64_t smallest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t pool_n_carried(const struct delivery *delivery)
{
    int64_t n = 0;
    for (size_t i = 0; i < delivery->n_recipients; i++)
        n += !delivery->recipients[i].held_back;
    return n;
}

/* How many of its recipients may go now; they count from here on. Under the lock. */
static int64_t take_rates(struct relay *relay, const struct delivery *delivery, int64_t now_ms)
{
    int64_t n_wanted = pool_n_carried(delivery), most = relay->settings->max_recipients;
    if (most > 0)
        n_wanted = smallest(n_wanted, most);
    rate_take(relay->messages, 1, now_ms);
    return rate_take(relay->recipients, n_wanted, now_ms);
}

/* All but the first `n` stay behind until the delivery comes round again. */
static void hold_back_excess(struct delivery *delivery, int64_t n)
{
    for (size_t i = 0; i < delivery->n_recipients; i++)
        if (!delivery->recipients[i].held_back && n-- <= 0)
            delivery->recipients[i].held_back = true;
}

static struct delivery *take_ready(struct relay *relay, size_t n_under_way, int64_t now_ms,
                                   int64_t *n_recipients_out)
{
    struct delivery *delivery = NULL;
    pthread_mutex_lock(&relay->lock);
    if (carries_now(relay, now_ms) && (n_under_way == 0 || may_deepen(relay, now_ms)))
        delivery = ready_take(&relay->ready);
    if (delivery != NULL)
        *n_recipients_out = take_rates(relay, delivery, now_ms);
    pthread_mutex_unlock(&relay->lock);
    return delivery;
}

/* As many are under way, on all relays, as can be remembered: the next tick asks again, or whoever
 * has done with one of his. */
static void put_back(struct relay *relay, struct delivery *delivery)
{
    pthread_mutex_lock(&relay->lock);
    ready_put_back(&relay->ready, delivery);
    pthread_mutex_unlock(&relay->lock);
}

/* Nobody is held back before it departs: what is put back must find the rates as they are then. */
struct delivery *pool_pull(struct relay *relay, size_t n_under_way)
{
    struct delivery *delivery;
    int64_t now_ms = clock_mono_ms(), n_recipients;
    while ((delivery = take_ready(relay, n_under_way, now_ms, &n_recipients)) != NULL) {
        delivery->relay = relay->settings->name;
        delivery->hold_in_doubt = relay->settings->on_in_doubt == 1;
        enum queue_departure departure = queue_depart(relay->around.queue, delivery);
        if (departure == QUEUE_DEPARTS) {
            hold_back_excess(delivery, n_recipients);
            return delivery;
        }
        pool_not_sent(relay, 1, n_recipients, now_ms);
        if (departure == QUEUE_DEPARTS_NOT_NOW) {
            put_back(relay, delivery);
            return NULL;
        }
        queue_settle(relay->around.queue, delivery);
    }
    return NULL;
}

void pool_not_sent(struct relay *relay, int64_t n_messages, int64_t n_recipients, int64_t pulled_ms)
{
    pthread_mutex_lock(&relay->lock);
    rate_give_back(relay->messages, n_messages, pulled_ms);
    rate_give_back(relay->recipients, n_recipients, pulled_ms);
    pthread_mutex_unlock(&relay->lock);
}

void pool_give_back(struct relay *relay, struct delivery *list)
{
    for (struct delivery *next; list != NULL; list = next) {
        next = list->next;
        list->next = NULL;
        queue_settle(relay->around.queue, list);
    }
}

int64_t pool_took_ms(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    int64_t took_ms = relay->took_ms;
    pthread_mutex_unlock(&relay->lock);
    return took_ms;
}

/* --- as whom ------------------------------------------------------------------------------ */

struct identity *pool_new_identity(struct relay *relay, struct secret *secret)
{
    struct identity *identity = identity_new(relay->settings, secret, relay->tls, relay->addresses);
    if (identity != NULL)
        identity->session.smtp.login_memory = &relay->login_memory;
    return identity;
}

/* What the reloader has published since; nothing is read here. */
static void renew_identity(struct relay *relay)
{
    if (relay->password == NULL)
        return;
    uint64_t version = reload_version(relay->password);
    if (version == atomic_load(&relay->password_version))
        return;
    struct secret *secret = reload_take(relay->password);
    struct identity *unused = pool_new_identity(relay, secret);
    secret_unref(secret);
    if (unused == NULL)
        return; /* the next tick tries again */
    pthread_mutex_lock(&relay->lock);
    if (version > atomic_load(&relay->password_version)) { /* no other worker was faster */
        struct identity *renewed = unused;
        unused = relay->identity;
        relay->identity = renewed;
        relay->entry.until_ms = 0; /* a login that was refused may be right now */
        atomic_store(&relay->password_version, version);
    }
    pthread_mutex_unlock(&relay->lock);
    identity_unref(unused);
}

struct identity *pool_identity(struct relay *relay)
{
    renew_identity(relay);
    pthread_mutex_lock(&relay->lock);
    struct identity *identity = relay->identity;
    atomic_fetch_add(&identity->holders, 1);
    pthread_mutex_unlock(&relay->lock);
    return identity;
}

bool pool_is_outdated(struct relay *relay, const struct identity *identity)
{
    renew_identity(relay);
    pthread_mutex_lock(&relay->lock);
    bool outdated = identity != relay->identity;
    pthread_mutex_unlock(&relay->lock);
    return outdated;
}

/* --- is it a good place to go? ------------------------------------------------------------ */

bool pool_available(const struct relay *relay, int64_t now_ms)
{
    if (relay->paused || relay->draining || relay->down || !backoff_open(&relay->traffic, now_ms))
        return false;
    bool inside = relay->n_connections > relay->n_opening;
    if (!inside && !backoff_open(&relay->entry, now_ms))
        return false;
    if (!inside && relay->probing_ms > 0 && now_ms - relay->probing_ms > PROBING_MS)
        return false;
    return rate_open_at(relay->messages, now_ms) <= now_ms + RATE_PATIENCE_MS &&
           rate_open_at(relay->recipients, now_ms) <= now_ms + RATE_PATIENCE_MS;
}

void pool_tell_changes(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    bool is_available = pool_available(relay, clock_mono_ms());
    bool changed = is_available != relay->was_available;
    relay->was_available = is_available;
    relay->wanted &= !is_available;
    pthread_mutex_unlock(&relay->lock);
    if (changed)
        relay->around.changed(relay->around.arg);
}

/* --- what connections report ----------------------------------------------------------------- */

void pool_idle_changed(struct relay_slot *slot, bool idle)
{
    struct relay *relay = slot->relay;
    pthread_mutex_lock(&relay->lock);
    relay->n_idle += idle ? 1 : (size_t)-1;
    slot->n_idle += idle ? 1 : (size_t)-1;
    /* What arrived between the last pull and now saw nobody idle; nor did the end of it all. */
    bool missed =
        idle && (relay->draining || (relay->ready.n > 0 && carries_now(relay, clock_mono_ms())));
    pthread_mutex_unlock(&relay->lock);
    metric_add(relay->metrics.idle, idle ? 1 : -1);
    if (missed)
        workers_post(relay->around.workers, slot->worker, &slot->job);
}

void pool_opened(struct relay *relay)
{
    size_t max = (size_t)relay->settings->connections.max;
    pthread_mutex_lock(&relay->lock);
    relay->n_opening--;
    relay->tried = true;
    bool was_down = relay->down;
    relay->down = relay->wanted = relay->explained = false;
    note_probing(relay, clock_mono_ms());
    relay->limit = backoff_widen(relay->limit, relay->n_connections - relay->n_opening, max);
    backoff_succeeded(&relay->entry);
    if (was_down)
        relay->failure.error = (struct error){0};
    uint64_t wake = plan(relay);
    pthread_mutex_unlock(&relay->lock);
    metric_add(relay->metrics.open, 1);
    if (was_down)
        log_info("relay up", LOG_STR("relay", relay->settings->name));
    wake_slots(relay, wake);
    pool_tell_changes(relay);
}

/* A connection that has carried mail and then ends is the ordinary course of things; so is one that
 * had nothing to do. */
static bool is_failure(const struct relay *relay, const struct pool_ending *ending)
{
    return !relay->aborting && !relay->draining && ending->why->code != ERR_NONE &&
           !ending->harmless;
}

void pool_closed(struct relay_slot *slot, const struct pool_ending *ending)
{
    struct relay *relay = slot->relay;
    struct relay_failure failure = {0};
    int64_t pause_ms = 0;
    pthread_mutex_lock(&relay->lock);
    relay->n_connections--;
    slot->n_connections--;
    relay->n_opening -= !ending->opened;
    note_probing(relay, clock_mono_ms());
    relay->tried = true;
    bool failed = is_failure(relay, ending);
    if (failed) {
        pause_ms = breaker_connect_failed(relay, ending);
        failure = relay->failure;
    }
    uint64_t wake = plan(relay);
    pthread_mutex_unlock(&relay->lock);

    metric_add(ending->opened ? relay->metrics.open : relay->metrics.connect_failures,
               ending->opened ? -1 : 1);
    if (failed)
        breaker_log(relay, &failure, pause_ms);
    else if (ending->why->code != ERR_NONE)
        log_debug("connection ended", LOG_STR("relay", relay->settings->name),
                  LOG_STR("step", smtp_step_word(ending->step)),
                  LOG_STR("code", error_word(ending->why->code)),
                  LOG_STR("detail", ending->why->detail));
    wake_slots(relay, wake);
    pool_tell_changes(relay);
}

/* --- on the worker's thread --------------------------------------------------------------- */

static void settle_expired(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    struct delivery *expired = ready_take_expired(&relay->ready, clock_steady_ms());
    pthread_mutex_unlock(&relay->lock);
    pool_give_back(relay, expired);
}

static void raise_cap(struct relay *relay, int64_t now_ms)
{
    pthread_mutex_lock(&relay->lock);
    if (relay->cap < (size_t)relay->settings->connections.max &&
        now_ms - relay->cap_ms >= CAP_RAISE_MS) {
        relay->cap++;
        relay->cap_ms = now_ms;
    }
    pthread_mutex_unlock(&relay->lock);
}

/* Is there still something that only the clock will tell? */
static bool has_to_watch(const struct relay_slot *slot)
{
    const struct relay *relay = slot->relay;
    bool hoped_for = relay->wanted && !relay->paused; /* whoever resumes it tells */
    bool waits = relay->ready.n > 0 || hoped_for ||
                 relay->was_available != pool_available(relay, clock_mono_ms());
    return slot->connections != NULL || slot->explaining != NULL ||
           (waits && !relay->draining && !relay->aborting);
}

static void on_tick(uv_timer_t *tick)
{
    struct relay_slot *slot = tick->data;
    struct relay *relay = slot->relay;
    int64_t now_ms = clock_mono_ms();
    int64_t idle_ms = relay->settings->connections.idle_ms; /* 0: no bound */
    connections_quit_idle(slot, idle_ms > 0 ? now_ms - idle_ms : INT64_MIN);
    renew_identity(relay);
    settle_expired(relay);
    raise_cap(relay, now_ms);
    pool_tell_changes(relay);
    breaker_look_for_token(relay);
    breaker_explain(slot, tick->loop);
    pool_plan(relay);
    pthread_mutex_lock(&relay->lock);
    bool more = has_to_watch(slot);
    pthread_mutex_unlock(&relay->lock);
    if (!more) {
        uv_timer_stop(tick);
        slot->ticking = false;
    }
}

static void keep_ticking(struct relay_slot *slot, uv_loop_t *loop)
{
    if (!slot->has_tick) {
        uv_timer_init(loop, &slot->tick);
        slot->tick.data = slot;
        slot->has_tick = true;
    }
    if (!slot->ticking)
        uv_timer_start(&slot->tick, on_tick, TICK_MS, TICK_MS);
    slot->ticking = true;
}

static void stop_slot(struct relay_slot *slot)
{
    connections_abort(slot);
    inspections_abort(slot);
    if (slot->explaining != NULL)
        verify_abort(TAKE(slot->explaining));
    if (slot->has_tick && !uv_is_closing((uv_handle_t *)&slot->tick))
        uv_close((uv_handle_t *)&slot->tick, NULL);
}

static void open_connections(struct relay_slot *slot, size_t n, uv_loop_t *loop)
{
    for (; n > 0; n--)
        if (connection_open(slot, loop) < 0) {
            struct error why;
            error_set(&why, ERR_NOMEM, "no memory for a connection");
            pool_closed(slot, &(struct pool_ending){.step = SMTP_STEP_TCP, .why = &why});
        }
}

void slot_tend(struct worker_job *job, uv_loop_t *loop)
{
    struct relay_slot *slot = (struct relay_slot *)job; /* its first member */
    struct relay *relay = slot->relay;
    pthread_mutex_lock(&relay->lock);
    size_t to_open = slot->to_open;
    slot->to_open = 0;
    bool draining = relay->draining, aborting = relay->aborting;
    pthread_mutex_unlock(&relay->lock);

    open_connections(slot, to_open, loop);
    if (aborting) {
        stop_slot(slot);
        return;
    }
    if (draining)
        connections_quit_unused(slot);
    struct connection *connection;
    struct delivery *delivery;
    while ((connection = connection_idle(slot)) != NULL && (delivery = pool_pull(relay, 0)) != NULL)
        connection_carry(connection, delivery);
    keep_ticking(slot, loop);
}
