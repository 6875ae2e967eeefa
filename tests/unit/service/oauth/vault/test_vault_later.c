#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "oauth/vault/vault.h"

/* Puts by the vault's own thread, and another process's lock. */

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

enum { PATIENCE_MS = 30000, N_MOST = 100 };

static char folder[64], path[96], lock_path[112];
static struct vault *vault;
static struct error err;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int n_told;
static enum error_code told[N_MOST];

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/postern-later-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/grants", folder);
    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    cr_assert_eq(vault_open(&(struct vault_settings){.path = path, .key = KEY}, &vault, &err), 0);
    n_told = 0;
}

static void tear_down(void)
{
    vault_close(vault);
    while (threads_left())
        usleep(1000);
    unlink(path);
    unlink(lock_path);
    rmdir(folder);
}

TestSuite(vault_later, .init = set_up, .fini = tear_down, .timeout = 60);

static void on_stored(void *arg, const struct error *why)
{
    pthread_mutex_lock(&lock);
    told[n_told++] = why->code;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void await(int n)
{
    pthread_mutex_lock(&lock);
    while (n_told < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static int count_told(void)
{
    pthread_mutex_lock(&lock);
    int n = n_told;
    pthread_mutex_unlock(&lock);
    return n;
}

static void put_later(const char *name, const char *secret)
{
    cr_assert_eq(vault_put_later(vault, name, secret, on_stored, NULL, &err), 0, "%s", err.detail);
}

static void holds(const char *name, const char *secret)
{
    char *found = NULL;
    cr_assert_eq(vault_get(vault, name, &found, &err), 0, "%s: %s", name, err.detail);
    cr_assert_str_eq(found, secret);
    free(found);
}

/* As another process would: a lock is its open file's. */
static int hold_lock(void)
{
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    return fd;
}

Test(vault_later, they_are_stored_in_their_order)
{
    char text[16];
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "%d", i);
        put_later("a", text);
    }
    await(20);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(told[i], ERR_NONE);
    holds("a", "19");
}

Test(vault_later, what_cannot_be_stored_is_told)
{
    char large[65537];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    put_later("a", large);
    await(1);
    cr_assert_eq(told[0], ERR_TOO_LARGE);
}

/* Neither who puts nor who reads waits for the lock; and who would be too many is told. */
Test(vault_later, another_process_holds_the_lock)
{
    cr_assert_eq(vault_put(vault, "a", "old", &err), 0);
    int fd = hold_lock();
    int n = 0;
    while (n < N_MOST && vault_put_later(vault, "a", "new", on_stored, NULL, &err) == 0)
        n++;
    cr_assert_lt(n, N_MOST, "there is no end to those who may wait");
    cr_assert_geq(n, 64);
    cr_assert_eq(err.code, ERR_THROTTLED);
    holds("a", "old");
    cr_assert_eq(count_told(), 0);
    close(fd);
    await(n);
    for (int i = 0; i < n; i++)
        cr_assert_eq(told[i], ERR_NONE);
    holds("a", "new");
}

/* The end waits for nothing, and everybody hears of it: also who is under way, once. */
Test(vault_later, the_end_while_it_is_locked)
{
    int fd = hold_lock();
    for (int i = 0; i < 5; i++)
        put_later("a", "1");
    vault_end(vault);
    cr_assert_eq(count_told(), 5);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(told[i], ERR_DRAINING);
    cr_assert_eq(vault_put_later(vault, "a", "2", on_stored, NULL, &err), -1);
    cr_assert_eq(err.code, ERR_DRAINING);
    vault_close(vault); /* the thread still has what it works on */
    vault = NULL;
    close(fd);
    while (threads_left())
        usleep(1000);
    cr_assert_eq(count_told(), 5);
}
