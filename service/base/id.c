#include "base/id.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char ALPHABET[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void id_random(void *out, unsigned len)
{
    for (char *p = out; len > 0;) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno != EINTR)
            abort();
        if (n > 0) {
            p += n;
            len -= (unsigned)n;
        }
    }
}

void id_new(int64_t wall_ms, char out[ID_SIZE])
{
    /* One system call serves many ids; each thread has its own pool. */
    static _Thread_local uint8_t pool[16 * 64];
    static _Thread_local unsigned left;
    if (left == 0) {
        id_random(pool, sizeof(pool));
        left = sizeof(pool);
    }
    left -= 16;
    const uint8_t *random = pool + left;

    for (int i = 9; i >= 0; i--, wall_ms >>= 5)
        out[i] = ALPHABET[wall_ms & 31];
    for (int i = 0; i < 16; i++)
        out[10 + i] = ALPHABET[random[i] & 31];
    out[ID_LEN] = '\0';
}

bool id_valid(const char *s)
{
    return strlen(s) == ID_LEN && strspn(s, ALPHABET) == ID_LEN;
}
