/*
 * What a proxy says: the first octet chooses the protocol and whether there is a login. However it
 * is cut, the same becomes of it, the same is asked, and no octet behind its last is taken.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "smtp/proxy.h"
#include "smtp/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HTTP = 1, LOGIN = 2, ASKED_MAX = 4096 };

struct ending {
    int rc;
    size_t used;
    struct buffer asked;
};

static void note_asked(struct proxy *proxy, struct ending *ending)
{
    size_t len;
    const char *pending = proxy_pending(proxy, &len);
    if (buffer_append(&ending->asked, pending, len) < 0)
        abort();
    proxy_sent(proxy, len);
}

static void play(unsigned kind, const char *data, size_t size, size_t at_most,
                 struct ending *ending)
{
    const struct session_proxy settings = {.http = (kind & HTTP) != 0,
                                           .user = kind & LOGIN ? "joe" : NULL,
                                           .password = kind & LOGIN ? "a-secret" : NULL};
    struct proxy *proxy;
    struct error err = {0};
    if (proxy_new(&settings, "mail.example", 587, &proxy, &err) < 0)
        abort();
    *ending = (struct ending){0};
    buffer_init(&ending->asked, ASKED_MAX);
    note_asked(proxy, ending);
    while (ending->rc == 0 && ending->used < size) {
        size_t n = proxy_wants(proxy), left = size - ending->used;
        if (n == 0)
            abort();
        n = n < left ? n : left;
        n = n < at_most ? n : at_most;
        ending->rc = proxy_feed(proxy, data + ending->used, n, &err);
        ending->used += n;
        note_asked(proxy, ending);
    }
    bool revealed = (kind & LOGIN) != 0 && strstr(err.detail, "a-secret") != NULL;
    if (ending->rc < 0 && (err.code != ERR_PROXY_FAILED || revealed))
        abort();
    proxy_free(proxy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ending whole, pieces;
    if (size == 0)
        return 0;
    play(data[0], (const char *)data + 1, size - 1, SIZE_MAX, &whole);
    play(data[0], (const char *)data + 1, size - 1, 1, &pieces);
    /* A piece that was cut may have shown that it is nothing worth before it was whole. */
    if (whole.rc != pieces.rc || pieces.used > whole.used || whole.asked.len != pieces.asked.len ||
        memcmp(whole.asked.data, pieces.asked.data, whole.asked.len) != 0)
        abort();
    buffer_clear(&whole.asked);
    buffer_clear(&pieces.asked);
    return 0;
}
