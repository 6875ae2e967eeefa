#ifndef POSTERN_API_BUDGET_H
#define POSTERN_API_BUDGET_H

/*
 * The memory that the bodies of all requests share. An owner (an API key, or a client's address)
 * may hold three times what it leaves free, so at most three quarters: there is always room for
 * another. One request of an owner that holds no other may take all there is.
 */

#include <stdbool.h>
#include <stdint.h>

struct budget;

struct budget *budget_new(uint64_t limit); /* in octets; NULL without memory */
void budget_free(struct budget *budget);   /* NULL is fine */

/* Owners whose numbers are the same by BUDGET_OWNERS share a share. */
enum { BUDGET_OWNERS = 256 };

/* `more` for a request that holds `held` already. false, and nothing taken, if there is no room. */
bool budget_take(struct budget *budget, unsigned owner, uint64_t held, uint64_t more);
void budget_give(struct budget *budget, unsigned owner, uint64_t octets);
/* Would one more request of `octets` find room? Nothing is taken. */
bool budget_has(struct budget *budget, uint64_t octets);

#endif
