#ifndef POSTERN_TESTS_STORE_RIG_H
#define POSTERN_TESTS_STORE_RIG_H

/* A store in a folder of its own, and turns for it: what every store must do is tested on each. */

#include "queue/sqlite_store.h"

enum { T0 = 1000000 };

struct bed {
    const struct store_ops *ops;
    struct store *store; /* NULL: closed */
    char folder[40], url[80];
    struct arena *arena;  /* what turns give is in it, for the whole test */
    struct mail *written; /* of bed_item(); freed with the bed */
    struct error err;
};
extern struct bed bed;

void bed_set_up(const char *scheme); /* "sqlite:", "memory:" */
void bed_set_up_file(void);          /* the first of them */
void bed_tear_down(void);
void bed_open(void);
void bed_close(void);

/* `suite` is that of the noun; each test is in suite_sqlite and in suite_memory. */
#define STORE_TEST(suite, name)                                                                    \
    static void name(void);                                                                        \
    Test(suite##_sqlite, name)                                                                     \
    {                                                                                              \
        bed_set_up("sqlite:");                                                                     \
        name();                                                                                    \
        bed_tear_down();                                                                           \
    }                                                                                              \
    Test(suite##_memory, name)                                                                     \
    {                                                                                              \
        bed_set_up("memory:");                                                                     \
        name();                                                                                    \
        bed_tear_down();                                                                           \
    }                                                                                              \
    static void name(void)

/* --- turns -------------------------------------------------------------------------------- */

struct store_turn bed_turn(int64_t now_ms); /* an empty one */
/* It succeeds; the second: and each of its items. */
void bed_commit_some(struct store_turn *turn);
void bed_commit(struct store_turn *turn);
/* Nothing of any turn stands until the second. */
void bed_break(void);
void bed_mend(void);
/* From now on what concerns this address fails: by "ABORT", "FAIL", or "ROLLBACK", which leaves no
 * transaction. Both as it is submitted and as it is settled. */
void bed_poison(const char *address, const char *how);
void bed_cure(void);

/* --- what goes in ------------------------------------------------------------------------- */

struct letter {
    const char *key; /* idempotency */
    char request;    /* stands for what was asked */
    size_t size, n_recipients;
    const char *to; /* the first recipient; NULL: r0@example.net, the others are r1, ... */
    bool waits;
    enum mail_priority priority;
    int64_t age_ms; /* created so long before T0 */
};

struct mail *letter_write(const struct letter *letter);
/* One of a turn; the bed owns what is behind it. */
struct store_submission bed_item(const struct letter *letter, bool claimed);
/* The next four are turns of their own. `id` may be NULL; the message's seq. */
int64_t bed_keep(const struct letter *letter, bool claimed, char id[ID_SIZE]);
struct store_submission bed_submit(const struct letter *letter);
void bed_cancel(int64_t seq, int64_t now_ms);
/* At T0 + 1. Frees the delivery; when it is wanted again. */
int64_t bed_settle(struct mail *delivery, const enum recipient_status *status,
                   const int64_t *next_ms);
/* All of it at once; the arena's. */
struct store_outcome bed_outcome(const struct mail *delivery, enum recipient_status status,
                                 int64_t next_ms);
void bed_end(struct mail *delivery, int64_t now_ms, bool keep_content);   /* sent; frees it */
void bed_recover(const struct flight *flights, size_t n, int64_t due_ms); /* at T0 + 10 */

/* --- what comes out ----------------------------------------------------------------------- */

struct mail *bed_load(int64_t now_ms, size_t max_n, size_t max_bytes);
size_t bed_drop(struct mail *list); /* how many there were */
int64_t bed_next_due(void);
struct mail *bed_find(const char *id);
bool bed_has(const char *id);
void bed_check_status(const char *id, const char *status);
struct store_stats bed_stats(void);
/* "primary 7 3 4; ": relay, hour, messages, recipients. */
void bed_expect_usage(int64_t since_ms, const char *expected);
int64_t bed_number(const char *select);

/* --- the file alone ----------------------------------------------------------------------- */

const char *bed_path(void);
void bed_exec_in_file(const char *text);
int64_t bed_number_in_file(const char *select);
void bed_check_integrity(void);
/* A file of an earlier version in place of the one that is open; "version_1.sql". */
void bed_put_version(const char *name);

#endif
