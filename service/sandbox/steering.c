#include "sandbox/steering.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sandbox/field.h"

enum { WAYS = 4, SETS = STEERING_REMEMBERED / WAYS };

enum manner { MANNER_DEFER, MANNER_DROP };

struct visit { /* zeroed: none */
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned n;
};

/* Sets of a few visits each: looked up by the digest, the oldest of a set is forgotten first. */
struct steering {
    struct visit visits[SETS][WAYS];
};

struct steering *steering_new(void)
{
    return calloc(1, sizeof(struct steering));
}

void steering_free(struct steering *steering)
{
    free(steering);
}

static bool is_steered(const char *address, const char *local)
{
    size_t n = strlen(local);
    return strncasecmp(address, local, n) == 0 && strcasecmp(address + n, "@sandbox.test") == 0;
}

const char *steering_on_recipient(const char *address)
{
    if (is_steered(address, "bounce"))
        return "550 5.1.1 No such user here: bounce@sandbox.test always refuses";
    if (is_steered(address, "throttle"))
        return "432 4.3.2 Too many messages: throttle@sandbox.test always says so";
    return NULL;
}

/* The message's name under that manner, so that defer@ and drop@ of one message count apart. */
static void digest_of(const struct receiver_mail *mail, enum manner manner,
                      unsigned char digest[SHA256_DIGEST_LENGTH])
{
    struct span id =
        field_find((struct span){mail->content->data, mail->content->len}, "Message-ID");
    if (id.len == 0)
        id = (struct span){mail->content->data, mail->content->len};
    SHA256((const unsigned char *)id.data, id.len, digest);
    digest[0] ^= (unsigned char)manner;
}

/* Counts this visit of the message: 1 for the first. */
static unsigned count_visit(struct steering *steering, const struct receiver_mail *mail,
                            enum manner manner)
{
    struct visit visit = {.n = 1};
    digest_of(mail, manner, visit.digest);
    struct visit *set = steering->visits[(visit.digest[1] << 8 | visit.digest[2]) % SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].n > 0 && memcmp(set[i].digest, visit.digest, sizeof(visit.digest)) == 0)
            return ++set[i].n;
    memmove(set + 1, set, (WAYS - 1) * sizeof(*set));
    set[0] = visit;
    return 1;
}

static bool has_recipient(const struct receiver_mail *mail, const char *local)
{
    for (size_t i = 0; i < mail->n_to; i++)
        if (is_steered(mail->to[i], local))
            return true;
    return false;
}

struct steering_verdict steering_on_mail(struct steering *steering,
                                         const struct receiver_mail *mail)
{
    struct steering_verdict verdict = {.receiver.reply = "250 2.0.0 Ok: kept in the sandbox",
                                       .keep = true};
    if (has_recipient(mail, "slow"))
        verdict.receiver.delay_ms = STEERING_SLOW_MS;
    if (has_recipient(mail, "defer") &&
        count_visit(steering, mail, MANNER_DEFER) <= STEERING_DEFERS) {
        verdict.receiver.reply = "451 4.3.0 Try again: defer@sandbox.test refuses twice";
        verdict.keep = false;
    } else if (has_recipient(mail, "drop") && count_visit(steering, mail, MANNER_DROP) == 1) {
        verdict.receiver.drop = true;
    }
    return verdict;
}
