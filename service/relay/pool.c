#include "relay/pool.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/availability.h"
#include "relay/breaker.h"

/* --- how many connections ----------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many connections may be opened right now. */
static size_t openable(const struct relay *relay, int64_t now_ms)
{
    assert(lock_held_by_me(&relay->lock));
    if (!availability_open(relay, now_ms) || !backoff_open(&relay->entry, now_ms))
        return 0;
    size_t most = smaller(relay->limit, relay->cap);
    size_t room = relay->n_connections < most ? most - relay->n_connections : 0;
    if (relay->entry.n_failures > 0) /* half-open: one probe */
        return relay->n_opening == 0 ? smaller(room, 1) : 0;
    return room;
}

/* Since when do we try to get in, while nobody is inside? */
static void note_probing(struct relay *relay, int64_t now_ms)
{
    assert(lock_held_by_me(&relay->lock));
    if (relay->n_opening == 0 || relay->n_connections > relay->n_opening)
        relay->probing_ms = 0;
    else if (relay->probing_ms == 0)
        relay->probing_ms = now_ms;
}

/* Where there are fewest; its bit. */
static uint64_t open_one(struct relay *relay, int64_t now_ms)
{
    struct relay_slot *slot = &relay->slots[0];
    for (size_t i = 1; i < relay->n_slots; i++)
        if (relay->slots[i].n_connections < slot->n_connections)
            slot = &relay->slots[i];
    slot->to_open++;
    slot->n_connections++;
    relay->n_connections++;
    relay->n_opening++;
    note_probing(relay, now_ms);
    return UINT64_C(1) << slot->worker;
}

/* Which slots to call, as bits. */
static uint64_t plan(struct relay *relay)
{
    assert(lock_held_by_me(&relay->lock));
    assert(relay->n_opening <= relay->n_connections && relay->n_slots <= 64);
    int64_t now_ms = clock_mono_ms();
    uint64_t wake = 0;
    /* A relay that is down is probed for mail that went elsewhere, too. */
    size_t wanted = relay->ready.n == 0 && relay->down && relay->wanted ? 1 : relay->ready.n;
    bool waits = (wanted > 0 || relay->wanted) && !relay->draining;
    if (availability_open(relay, now_ms))
        for (size_t i = 0; i < relay->n_slots && wanted > 0; i++)
            if (relay->slots[i].n_idle > 0) {
                wake |= UINT64_C(1) << i;
                wanted -= smaller(relay->slots[i].n_idle, wanted);
            }
    wanted -= smaller(relay->n_opening, wanted); /* those will each take one */
    for (size_t n = openable(relay, now_ms); n > 0 && wanted > 0; n--, wanted--)
        wake |= open_one(relay, now_ms);
    if (wake == 0 && waits && relay->n_connections == 0)
        wake = 1; /* somebody must watch the clock: pauses end, mail expires */
    return wake;
}

static void wake_slots(struct relay *relay, uint64_t wake)
{
    assert(!lock_held_by_me(&relay->lock));
    for (size_t i = 0; i < relay->n_slots; i++)
        if (wake & UINT64_C(1) << i)
            workers_post(relay->around.workers, i, &relay->slots[i].job);
}

void pool_plan(struct relay *relay)
{
    lock_take(&relay->lock);
    uint64_t wake = plan(relay);
    lock_drop(&relay->lock);
    wake_slots(relay, wake);
}

/* --- who gets the next delivery ----------------------------------------------------------- */

int64_t pool_n_carried(const struct mail *delivery)
{
    int64_t n = 0;
    for (size_t i = 0; i < delivery->n_recipients; i++)
        n += !delivery->recipients[i].held_back;
    return n;
}

/* `*n_recipients_out`: how many of its recipients may go now. They count from here on. */
static struct mail *take_ready(struct relay *relay, size_t n_under_way, int64_t now_ms,
                               int64_t *n_recipients_out)
{
    struct mail *delivery = NULL;
    lock_take(&relay->lock);
    /* More goes onto a connection that is busy only if every other one could have some too: no
     * message waits behind a slow reply while another connection could carry it. */
    if (availability_open(relay, now_ms) &&
        (n_under_way == 0 ||
         (relay->ready.n >= relay->n_connections && openable(relay, now_ms) == 0)))
        delivery = ready_take(&relay->ready);
    if (delivery != NULL) {
        int64_t n_wanted = pool_n_carried(delivery), most = relay->settings->max_recipients;
        if (most > 0 && n_wanted > most)
            n_wanted = most;
        rate_take(relay->messages, 1, now_ms);
        *n_recipients_out = rate_take(relay->recipients, n_wanted, now_ms);
    }
    lock_drop(&relay->lock);
    return delivery;
}

/* Nobody is held back before it departs: what is put back must find the rates as they are then. */
struct mail *pool_pull(struct relay *relay, size_t n_under_way)
{
    struct mail *delivery;
    int64_t now_ms = clock_mono_ms(), n_recipients;
    while ((delivery = take_ready(relay, n_under_way, now_ms, &n_recipients)) != NULL) {
        delivery->relay = relay->settings->name;
        delivery->hold_in_doubt = relay->settings->on_in_doubt == 1;
        enum queue_departure departure = queue_depart(relay->around.queue, delivery);
        if (departure == QUEUE_DEPARTS) {
            /* All but the first stay behind until the delivery comes round again. */
            for (size_t i = 0; i < delivery->n_recipients; i++)
                if (!delivery->recipients[i].held_back && n_recipients-- <= 0)
                    delivery->recipients[i].held_back = true;
            return delivery;
        }
        pool_not_sent(relay, 1, n_recipients, now_ms);
        if (departure == QUEUE_DEPARTS_NOT_NOW) {
            /* As many are under way, on all relays, as can be remembered: the next tick asks again,
             * or whoever has done with one of his. */
            lock_take(&relay->lock);
            ready_put_back(&relay->ready, delivery);
            lock_drop(&relay->lock);
            return NULL;
        }
        queue_settle(relay->around.queue, delivery);
    }
    return NULL;
}

void pool_not_sent(struct relay *relay, int64_t n_messages, int64_t n_recipients, int64_t pulled_ms)
{
    assert(n_messages >= 0 && n_recipients >= 0);
    lock_take(&relay->lock);
    rate_give_back(relay->messages, n_messages, pulled_ms);
    rate_give_back(relay->recipients, n_recipients, pulled_ms);
    lock_drop(&relay->lock);
}

void pool_give_back(struct relay *relay, struct mail *list)
{
    for (struct mail *next; list != NULL; list = next) {
        next = list->next;
        list->next = NULL;
        queue_settle(relay->around.queue, list);
    }
}

int64_t pool_took_ms(struct relay *relay)
{
    return atomic_load_explicit(&relay->took_ms, memory_order_relaxed);
}

/* --- as whom ------------------------------------------------------------------------------ */

struct identity *pool_new_identity(struct relay *relay, struct secret *secret)
{
    struct identity *identity = identity_new(relay->settings, secret, relay->tls, relay->addresses);
    if (identity != NULL)
        identity->session.smtp.login_memory = &relay->login_memory;
    return identity;
}

void pool_renew_identity(struct relay *relay)
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
    lock_take(&relay->lock);
    if (version > atomic_load(&relay->password_version)) { /* no other worker was faster */
        struct identity *renewed = unused;
        unused = relay->identity;
        relay->identity = renewed;
        relay->entry.until_ms = 0; /* a login that was refused may be right now */
        atomic_store(&relay->password_version, version);
    }
    lock_drop(&relay->lock);
    identity_unref(unused);
}

struct identity *pool_identity(struct relay *relay)
{
    pool_renew_identity(relay);
    lock_take(&relay->lock);
    struct identity *identity = relay->identity;
    atomic_fetch_add(&identity->holders, 1);
    lock_drop(&relay->lock);
    return identity;
}

bool pool_is_outdated(struct relay *relay, const struct identity *identity)
{
    pool_renew_identity(relay);
    return identity != atomic_load_explicit(&relay->identity, memory_order_relaxed);
}

/* --- what connections report -------------------------------------------------------------- */

void pool_idle_changed(struct relay_slot *slot, bool idle)
{
    struct relay *relay = slot->relay;
    lock_take(&relay->lock);
    assert(idle || (relay->n_idle > 0 && slot->n_idle > 0));
    relay->n_idle += idle ? 1 : (size_t)-1;
    slot->n_idle += idle ? 1 : (size_t)-1;
    /* What arrived between the last pull and now saw nobody idle; nor did the end of it all. */
    bool missed = idle && (relay->draining ||
                           (relay->ready.n > 0 && availability_open(relay, clock_mono_ms())));
    lock_drop(&relay->lock);
    metric_add(relay->metrics.idle, idle ? 1 : -1);
    if (missed)
        workers_post(relay->around.workers, slot->worker, &slot->job);
}

void pool_opened(struct relay *relay)
{
    size_t max = (size_t)relay->settings->connections.max;
    lock_take(&relay->lock);
    assert(relay->n_opening > 0);
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
    lock_drop(&relay->lock);
    metric_add(relay->metrics.open, 1);
    if (was_down)
        log_info("relay up", LOG_STR("relay", relay->settings->name));
    wake_slots(relay, wake);
    availability_announce(relay);
}

void pool_closed(struct relay_slot *slot, const struct pool_ending *ending)
{
    struct relay *relay = slot->relay;
    struct breaker_failure failure;
    /* A connection that has carried mail and then ends is the ordinary course of things; so is one
     * that had nothing to do. */
    bool ordinary = ending->why->code == ERR_NONE || ending->harmless;
    if (!ordinary)
        breaker_prepare(relay, ending->step, ending->why, ending->transcript, &failure);
    lock_take(&relay->lock);
    assert(relay->n_connections > 0 && slot->n_connections > 0);
    assert(ending->opened || relay->n_opening > 0);
    relay->n_connections--;
    slot->n_connections--;
    relay->n_opening -= !ending->opened;
    note_probing(relay, clock_mono_ms());
    relay->tried = true;
    bool failed = !ordinary && !relay->aborting && !relay->draining;
    if (failed)
        breaker_connect_failed(relay, &failure);
    uint64_t wake = plan(relay);
    lock_drop(&relay->lock);

    metric_add(ending->opened ? relay->metrics.open : relay->metrics.connect_failures,
               ending->opened ? -1 : 1);
    if (!ordinary)
        breaker_finish(relay, &failure, failed);
    if (!failed && ending->why->code != ERR_NONE)
        log_debug("connection ended", LOG_STR("relay", relay->settings->name),
                  LOG_STR("step", smtp_step_word(ending->step)),
                  LOG_STR("code", error_word(ending->why->code)),
                  LOG_STR("detail", ending->why->detail));
    wake_slots(relay, wake);
    availability_announce(relay);
}
