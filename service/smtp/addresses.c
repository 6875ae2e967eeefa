#include "smtp/addresses.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

/* Of these the oldest goes first: a host with more addresses than that has enough good ones. */
enum { BAD_MAX = 32 };

struct bad_address {
    sa_family_t family;
    unsigned char octets[16];
    int64_t since_ms;
};

struct addresses {
    struct lock lock; /* guards what follows; nothing is taken under it */
    struct bad_address bad[BAD_MAX];
    size_t n_bad; /* in the order they failed */
};

struct addresses *addresses_new(void)
{
    struct addresses *addresses = calloc(1, sizeof(*addresses));
    if (addresses != NULL)
        lock_init(&addresses->lock);
    return addresses;
}

void addresses_free(struct addresses *addresses)
{
    if (addresses == NULL)
        return;
    lock_clear(&addresses->lock);
    free(addresses);
}

static struct bad_address key_of(const struct sockaddr *address)
{
    struct bad_address key = {.family = address->sa_family};
    if (address->sa_family == AF_INET6)
        memcpy(key.octets, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    else if (address->sa_family == AF_INET)
        memcpy(key.octets, &((const struct sockaddr_in *)address)->sin_addr, 4);
    return key;
}

static bool keys_equal(const struct bad_address *a, const struct bad_address *b)
{
    return a->family == b->family && memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

bool addresses_equal(const struct sockaddr *a, const struct sockaddr *b)
{
    struct bad_address left = key_of(a), right = key_of(b);
    return keys_equal(&left, &right);
}

/* All that is static below needs the lock. */
static size_t find(const struct addresses *addresses, const struct sockaddr *address)
{
    assert(lock_held_by_me(&addresses->lock));
    struct bad_address key = key_of(address);
    size_t i = 0;
    while (i < addresses->n_bad && !keys_equal(&addresses->bad[i], &key))
        i++;
    return i;
}

static void forget(struct addresses *addresses, size_t i)
{
    assert(lock_held_by_me(&addresses->lock));
    addresses->n_bad--;
    memmove(&addresses->bad[i], &addresses->bad[i + 1],
            (addresses->n_bad - i) * sizeof(addresses->bad[0]));
}

static bool is_bad(const struct addresses *addresses, const struct sockaddr *address,
                   int64_t now_ms)
{
    assert(lock_held_by_me(&addresses->lock));
    size_t i = find(addresses, address);
    return i < addresses->n_bad && now_ms - addresses->bad[i].since_ms < ADDRESSES_BAD_MS;
}

void addresses_failed(struct addresses *addresses, const struct sockaddr *address, int64_t now_ms)
{
    lock_take(&addresses->lock);
    size_t i = find(addresses, address);
    if (i < addresses->n_bad)
        forget(addresses, i);
    else if (addresses->n_bad == BAD_MAX)
        forget(addresses, 0);
    struct bad_address *bad = &addresses->bad[addresses->n_bad++];
    *bad = key_of(address);
    bad->since_ms = now_ms;
    lock_drop(&addresses->lock);
}

void addresses_worked(struct addresses *addresses, const struct sockaddr *address)
{
    lock_take(&addresses->lock);
    size_t i = find(addresses, address);
    if (i < addresses->n_bad)
        forget(addresses, i);
    lock_drop(&addresses->lock);
}

/* The next of the list from `from` on that is good, and of the one family or of any other; under
 * the lock. */
static const struct addrinfo *next_of(const struct addresses *addresses,
                                      const struct addrinfo *from, int family, bool of_family,
                                      int64_t now_ms)
{
    assert(addresses == NULL || lock_held_by_me(&addresses->lock));
    while (from != NULL && ((from->ai_family == family) != of_family ||
                            (addresses != NULL && is_bad(addresses, from->ai_addr, now_ms))))
        from = from->ai_next;
    return from;
}

/* Those that are good, families in turn; under the lock. */
static size_t interleave(const struct addresses *addresses, const struct addrinfo *list,
                         int64_t now_ms, const struct addrinfo **sorted_out, size_t size)
{
    assert(addresses == NULL || lock_held_by_me(&addresses->lock));
    const struct addrinfo *at[2] = {list, list}; /* of the first's family, of others */
    size_t n = 0;
    for (unsigned turn = 0; n < size && (at[0] != NULL || at[1] != NULL); turn++) {
        const struct addrinfo **next = &at[turn % 2];
        *next = next_of(addresses, *next, list->ai_family, turn % 2 == 0, now_ms);
        if (*next == NULL)
            continue;
        sorted_out[n++] = *next;
        *next = (*next)->ai_next;
    }
    return n;
}

/* Those that are bad, as they failed; under the lock. */
static size_t append_bad(const struct addresses *addresses, const struct addrinfo *list,
                         int64_t now_ms, const struct addrinfo **sorted_out, size_t size)
{
    assert(lock_held_by_me(&addresses->lock));
    size_t n = 0;
    for (size_t i = 0; i < addresses->n_bad; i++)
        for (const struct addrinfo *one = list; one != NULL && n < size; one = one->ai_next)
            if (find(addresses, one->ai_addr) == i && is_bad(addresses, one->ai_addr, now_ms))
                sorted_out[n++] = one;
    return n;
}

size_t addresses_sort(struct addresses *addresses, const struct addrinfo *list, int64_t now_ms,
                      const struct addrinfo **sorted_out, size_t size)
{
    if (addresses != NULL)
        lock_take(&addresses->lock);
    size_t n = interleave(addresses, list, now_ms, sorted_out, size);
    if (addresses != NULL) {
        n += append_bad(addresses, list, now_ms, sorted_out + n, size - n);
        lock_drop(&addresses->lock);
    }
    return n;
}
