#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "oauth/vault/vault.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_KEY "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* "m365" and "gmail", under KEY. */
#define GOLDEN                                                                                     \
    "\x50\x53\x54\x4e\x56\x4c\x54\x31\x61\x3a\xa4\xa7\x97\xd5\xcc\xd8"                             \
    "\x09\x02\xd0\x68\xb7\x99\xd2\x86\x51\xfb\x0f\x47\xae\xad\x5a\x70"                             \
    "\x2b\x39\x8a\x63\x38\x8d\xee\x24\x1a\xb1\x0e\x52\x04\x00\x0f\x71"                             \
    "\x06\x51\x14\x7f\xf9\xfb\x26\x81\xe9\xfe\x61\x6d\xec\x49\xde\x1f"                             \
    "\x17\xb4\xa1\x71\x13\x81\x95\xc0\x0a\xb7\x50\x6d\x33\x36\x35\x3f"                             \
    "\x04\x64\x81\xb7\x91\xa7\xe2\x04\xc4\x44\x5a\x37\x11\x84\x05\x00"                             \
    "\x0a\xff\x81\xde\x7e\xc0\x2f\x67\x01\x01\x7f\xd2\x47\x74\xea\xd8"                             \
    "\xa6\x1f\xf0\xbd\xc5\x26\x6e\xa4\x96\x22\xfe\xf1\x28\x67\x6d\x61"                             \
    "\x69\x6c\x9d\xfe\x6f\x01\x4e\xba\x17\xd7\x5e\x03"

enum { FILE_MAX = 8192, PATIENCE_MS = 120000, N_KILLS = 60, N_WRITERS = 4, N_WRITES = 25 };

static char folder[64], path[96];
static struct vault *vault;
static struct error err;

static int open_with_key(const char *key)
{
    vault_close(vault);
    vault = NULL;
    return vault_open(&(struct vault_settings){.path = path, .key = key}, &vault, &err);
}

static void reopen(void)
{
    cr_assert_eq(open_with_key(NULL), 0, "%s", err.detail);
}

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/postern-vault-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/grants", folder);
    reopen();
}

static size_t for_each_file(void (*act)(const char *file))
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;) {
        char file[sizeof(folder) + sizeof(item->d_name) + 1];
        if (item->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", folder, item->d_name);
        act(file);
        n++;
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}

static void remove_file(const char *file)
{
    unlink(file);
}

static void tear_down(void)
{
    vault_close(vault);
    for_each_file(remove_file);
    rmdir(folder);
}

TestSuite(vault, .init = set_up, .fini = tear_down);

static void put(const char *name, const char *secret)
{
    cr_assert_eq(vault_put(vault, name, secret, &err), 0, "%s", err.detail);
}

static void holds(const char *name, const char *wanted)
{
    char *secret = NULL;
    cr_assert_eq(vault_get(vault, name, &secret, &err), 0, "%s", err.detail);
    cr_assert_str_eq(secret, wanted);
    free(secret);
}

static void holds_none(const char *name)
{
    char *secret = NULL;
    cr_assert_eq(vault_get(vault, name, &secret, &err), -1);
    cr_assert_eq(err.code, ERR_NOT_FOUND, "%s", err.detail);
    cr_assert_null(secret);
}

static size_t read_file(const char *file, char out[FILE_MAX])
{
    int fd = open(file, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", file);
    ssize_t n = read(fd, out, FILE_MAX);
    cr_assert(n >= 0 && n < FILE_MAX);
    close(fd);
    return (size_t)n;
}

static void write_file(const char *file, const char *data, size_t len)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

/* --- what is kept ------------------------------------------------------------------------- */

Test(vault, keeps_what_was_put)
{
    char longest[65536];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    put("m365", "1.AXoA-first");
    put("gmail", longest);
    put("", "of no name");
    put("empty", "");
    put("m365", "1.AXoA-second");
    for (int i = 0; i < 2; i++, reopen()) {
        holds("m365", "1.AXoA-second");
        holds("gmail", longest);
        holds("", "of no name");
        holds("empty", "");
        holds_none("m36");
        holds_none("m3655");
    }
    cr_assert_eq(vault_put(vault, "gmail", NULL, &err), 0);
    holds_none("gmail");
    reopen();
    holds_none("gmail");
    holds("m365", "1.AXoA-second");
}

Test(vault, what_is_too_large_changes_nothing)
{
    char large[65537], name[257];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    put("a", "kept");
    cr_assert_eq(vault_put(vault, "a", large, &err), -1);
    cr_assert_eq(err.code, ERR_TOO_LARGE);
    cr_assert_eq(vault_put(vault, name, "x", &err), -1);
    cr_assert_eq(err.code, ERR_TOO_LARGE);
    holds("a", "kept");
}

Test(vault, in_memory_it_leaves_no_file)
{
    vault_close(vault);
    cr_assert_eq(vault_open(&(struct vault_settings){0}, &vault, &err), 0);
    put("a", "1");
    put("b", "2");
    put("a", "3");
    holds("a", "3");
    holds("b", "2");
    cr_assert_eq(for_each_file(remove_file), 0);
}

Test(vault, a_thousand_grants)
{
    char name[32], secret[32];
    vault_close(vault);
    cr_assert_eq(vault_open(&(struct vault_settings){0}, &vault, &err), 0);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "account-%d", i % 1000);
        snprintf(secret, sizeof(secret), "secret-%d", i);
        put(name, secret);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "account-%d", i);
        snprintf(secret, sizeof(secret), "secret-%d", 2000 + i);
        holds(name, secret);
    }
}

/* What was written once must be readable as long as there are such files. */
Test(vault, reads_what_the_first_version_wrote)
{
    static const char image[] = GOLDEN;
    write_file(path, image, sizeof(image) - 1);
    cr_assert_eq(open_with_key(KEY), 0, "%s", err.detail);
    holds("m365", "a refresh token");
    holds("gmail", "1//another");
}

/* --- who may read it ---------------------------------------------------------------------- */

static void is_private(const char *file)
{
    struct stat st;
    cr_assert_eq(stat(file, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600, "%s", file);
}

static void holds_no_secret(const char *file)
{
    char data[FILE_MAX];
    size_t n = read_file(file, data);
    cr_assert_null(memmem(data, n, "hunter2", 7), "%s", file);
}

Test(vault, its_files_are_private_and_unreadable)
{
    umask(0);
    cr_assert_eq(for_each_file(is_private), 0, "nothing before something is stored");
    put("a", "hunter2-hunter2");
    cr_assert_eq(for_each_file(is_private), 3, "grants, lock, key");
    for_each_file(holds_no_secret);
}

Test(vault, no_two_writes_look_alike)
{
    char one[FILE_MAX], two[FILE_MAX];
    put("a", "the same");
    size_t n = read_file(path, one);
    put("a", "the same");
    cr_assert_eq(read_file(path, two), n);
    cr_assert_neq(memcmp(one + 16, two + 16, 28), 0);
    cr_assert_neq(memcmp(one + n - 8, two + n - 8, 8), 0);
}

Test(vault, keys_as_they_are_written)
{
    static const struct {
        const char *key;
        bool good;
    } cases[] = {
        {KEY, true},
        {"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", true},
        {"__________________________________________8=", true},
        {"//////////////////////////////////////////8=", true},
        {"", false},
        {"hunter2", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh==", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8x", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd h8=", false},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1", false},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g", false},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_eq(open_with_key(cases[i].key), cases[i].good ? 0 : -1, "%s", cases[i].key);
        if (cases[i].good)
            continue;
        cr_assert_eq(err.code, ERR_CONFIG);
        cr_assert(cases[i].key[0] == '\0' || strstr(err.detail, cases[i].key) == NULL);
    }
    cr_assert_eq(open_with_key(KEY), 0);
    put("a", "1");
    cr_assert_eq(open_with_key(cases[2].key), 0, "the same key in base64");
    holds("a", "1");
}

Test(vault, a_key_from_a_file)
{
    char key_path[128];
    snprintf(key_path, sizeof(key_path), "%s/secret", folder);
    write_file(key_path, KEY "\n", sizeof(KEY));
    const struct vault_settings settings = {.path = path, .key_file = key_path};
    vault_close(vault);
    cr_assert_eq(vault_open(&settings, &vault, &err), 0, "%s", err.detail);
    put("a", "1");
    cr_assert_eq(open_with_key(KEY), 0, "%s", err.detail);
    holds("a", "1");
    write_file(key_path, "short\n", 6);
    vault_close(vault);
    vault = NULL;
    cr_assert_eq(vault_open(&settings, &vault, &err), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
}

Test(vault, a_wrong_key_changes_nothing)
{
    char before[FILE_MAX], after[FILE_MAX];
    cr_assert_eq(open_with_key(KEY), 0);
    put("a", "1");
    size_t n = read_file(path, before);
    cr_assert_eq(open_with_key(OTHER_KEY), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
    cr_assert_not_null(strstr(err.detail, "another key"), "%s", err.detail);
    cr_assert_eq(read_file(path, after), n);
    cr_assert_eq(memcmp(before, after, n), 0);
    cr_assert_eq(open_with_key(KEY), 0);
    holds("a", "1");
}

/* Two processes with different keys: the second notices, though the file came after it had begun.
 */
Test(vault, a_wrong_key_is_noticed_later_too)
{
    struct vault *other;
    char *secret;
    cr_assert_eq(open_with_key(OTHER_KEY), 0);
    const struct vault_settings settings = {.path = path, .key = KEY};
    cr_assert_eq(vault_open(&settings, &other, &err), 0);
    cr_assert_eq(vault_put(other, "a", "1", &err), 0);
    vault_close(other);
    cr_assert_eq(vault_get(vault, "a", &secret, &err), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
    cr_assert_eq(vault_put(vault, "a", "2", &err), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
    cr_assert_eq(open_with_key(KEY), 0);
    holds("a", "1");
}

Test(vault, a_key_that_is_gone_is_not_made_anew)
{
    char key_path[128];
    snprintf(key_path, sizeof(key_path), "%s.key", path);
    put("a", "1");
    cr_assert_eq(unlink(key_path), 0);
    cr_assert_eq(open_with_key(NULL), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
    cr_assert_neq(access(key_path, F_OK), 0);
}

/* --- damage ------------------------------------------------------------------------------- */

static void is_refused(const char *data, size_t len, const char *what, size_t at)
{
    write_file(path, data, len);
    cr_assert_eq(open_with_key(NULL), -1, "%s %zu", what, at);
    cr_assert(err.code == ERR_STORE_BROKEN || err.code == ERR_CONFIG, "%s %zu: %s", what, at,
              error_word(err.code));
}

Test(vault, tampering_with_any_octet_is_noticed)
{
    char data[FILE_MAX];
    put("one", "first");
    put("two", "second");
    size_t n = read_file(path, data);
    cr_assert_gt(n, 100);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            data[i] ^= (char)(1 << bit);
            is_refused(data, n, "octet", i);
            data[i] ^= (char)(1 << bit);
        }
    for (size_t len = 0; len < n; len++)
        is_refused(data, len, "cut off at", len);
    data[n] = '\0';
    is_refused(data, n + 1, "one more than", n);
    write_file(path, data, n);
    reopen();
    holds("one", "first");
}

/* An old file with a new record's octets, and the other way round. */
Test(vault, records_of_two_writes_do_not_mix)
{
    char old[FILE_MAX], new[FILE_MAX];
    put("one", "first");
    size_t n = read_file(path, old);
    put("one", "other");
    cr_assert_eq(read_file(path, new), n);
    memcpy(new + 44, old + 44, n - 44);
    is_refused(new, n, "mixed", n);
}

Test(vault, damage_is_noticed_while_it_is_in_use)
{
    char data[FILE_MAX], *secret;
    put("one", "first");
    size_t n = read_file(path, data);
    data[n - 1] ^= 1;
    data[20] ^= 1;
    write_file(path, data, n);
    cr_assert_eq(vault_get(vault, "one", &secret, &err), -1);
    cr_assert_eq(err.code, ERR_STORE_BROKEN);
    cr_assert_eq(vault_put(vault, "one", "second", &err), -1, "nothing is built on a damaged file");
    cr_assert_eq(err.code, ERR_STORE_BROKEN);
}

/* --- the disk ----------------------------------------------------------------------------- */

Test(vault, a_folder_that_is_missing)
{
    snprintf(path, sizeof(path), "%s/none/grants", folder);
    cr_assert_eq(open_with_key(NULL), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
}

/* Root may write anywhere, so as nobody. */
static int put_as_nobody(void)
{
    struct vault *mine;
    struct error why;
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 10;
    if (vault_open(&(struct vault_settings){.path = path, .key = KEY}, &mine, &why) < 0)
        return 11;
    int rc = vault_put(mine, "a", "1", &why) == 0 ? 12 : why.code != ERR_STORE_UNAVAILABLE;
    vault_close(mine);
    return rc;
}

static int wait_for(pid_t child)
{
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(vault, a_folder_that_cannot_be_written)
{
    if (geteuid() != 0) {
        cr_assert_eq(chmod(folder, 0500), 0);
        cr_assert_eq(vault_put(vault, "a", "1", &err), -1);
        cr_assert_eq(err.code, ERR_STORE_UNAVAILABLE);
        cr_assert_eq(chmod(folder, 0700), 0);
        return;
    }
    cr_assert_eq(chmod(folder, 0755), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(put_as_nobody());
    cr_assert_eq(wait_for(child), 0);
}

static void is_no_leftover(const char *file)
{
    cr_assert_null(strstr(file, ".new"), "%s", file);
}

Test(vault, a_full_disk_leaves_the_old)
{
    char large[4096];
    struct rlimit limit;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    put("a", "old");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const struct rlimit small = {.rlim_cur = 1000, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(vault_put(vault, "a", large, &err), -1);
    cr_assert_eq(err.code, ERR_STORE_FULL, "%s", err.detail);
    for_each_file(is_no_leftover);
    holds("a", "old");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    holds("a", "old");
    put("a", large);
    reopen();
    holds("a", large);
}

/* What a killed process left there is no hindrance, whatever it is. */
Test(vault, a_leftover_is_not_written_through)
{
    char leftover[128], elsewhere[128], data[FILE_MAX];
    snprintf(leftover, sizeof(leftover), "%s.new", path);
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", folder);
    write_file(elsewhere, "mine", 4);
    cr_assert_eq(symlink(elsewhere, leftover), 0);
    put("a", "1");
    cr_assert_eq(read_file(elsewhere, data), 4);
    reopen();
    holds("a", "1");
}

/* --- several at once ---------------------------------------------------------------------- */

Test(vault, what_another_process_writes_is_seen)
{
    put("a", "mine");
    pid_t child = fork();
    if (child == 0) {
        struct vault *other;
        const struct vault_settings settings = {.path = path};
        _exit(vault_open(&settings, &other, NULL) < 0 || vault_put(other, "a", "its", NULL) < 0 ||
              vault_put(other, "b", "new", NULL) < 0);
    }
    cr_assert_eq(wait_for(child), 0);
    holds("a", "its");
    holds("b", "new");
    put("a", "mine again");
    holds("b", "new");
    cr_assert_eq(unlink(path), 0);
    holds_none("a");
}

/* Each its own names and all a common one; so a lost write shows. */
static int write_many(struct vault *into, int writer)
{
    char name[32];
    for (int i = 0; i < N_WRITES; i++) {
        snprintf(name, sizeof(name), "%d-%d", writer, i);
        if (vault_put(into, name, name, NULL) < 0 || vault_put(into, "common", name, NULL) < 0)
            return 1;
    }
    return 0;
}

static void all_writes_are_there(void)
{
    char name[32];
    reopen();
    for (int i = 0; i < N_WRITERS * N_WRITES; i++) {
        snprintf(name, sizeof(name), "%d-%d", i / N_WRITES, i % N_WRITES);
        holds(name, name);
    }
}

Test(vault, processes_that_write_at_once_lose_nothing)
{
    pid_t children[N_WRITERS];
    for (int i = 0; i < N_WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct vault *own;
            const struct vault_settings settings = {.path = path};
            _exit(vault_open(&settings, &own, NULL) < 0 || write_many(own, i) != 0);
        }
    }
    for (int i = 0; i < N_WRITERS; i++)
        cr_assert_eq(wait_for(children[i]), 0);
    all_writes_are_there();
}

static void *write_as_thread(void *arg)
{
    static atomic_int n;
    return write_many(vault, atomic_fetch_add(&n, 1)) == 0 ? arg : NULL;
}

Test(vault, threads_that_write_at_once_lose_nothing)
{
    pthread_t threads[N_WRITERS];
    for (int i = 0; i < N_WRITERS; i++)
        pthread_create(&threads[i], NULL, write_as_thread, folder);
    for (int i = 0; i < N_WRITERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        cr_assert_not_null(result);
    }
    all_writes_are_there();
}

/* --- the process is killed ---------------------------------------------------------------- */

struct progress { /* shared with the child */
    atomic_int begun, ended;
};

static _Noreturn void put_until_killed(struct progress *progress)
{
    struct vault *own;
    char value[32];
    if (vault_open(&(struct vault_settings){.path = path}, &own, NULL) < 0)
        _exit(1);
    for (int i = atomic_load(&progress->ended) + 1;; i++) {
        snprintf(value, sizeof(value), "%d", i);
        atomic_store(&progress->begun, i);
        if (vault_put(own, "counter", value, NULL) < 0)
            _exit(1);
        atomic_store(&progress->ended, i);
    }
}

/* `written`: not before it has put one value. */
static void kill_after(useconds_t us, bool written, struct progress *progress)
{
    int status, before = atomic_load(&progress->ended);
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    pid_t child = fork();
    if (child == 0)
        put_until_killed(progress);
    while (written && atomic_load(&progress->ended) == before) {
        cr_assert_lt(clock_mono_ms(), until_ms, "nothing was written");
        usleep(200);
    }
    usleep(us);
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it ended by itself");
}

static int counter(void)
{
    char *secret;
    reopen();
    if (vault_get(vault, "counter", &secret, &err) < 0) {
        cr_assert_eq(err.code, ERR_NOT_FOUND, "%s", err.detail);
        return 0;
    }
    int n = (int)strtol(secret, NULL, 10);
    free(secret);
    return n;
}

static struct progress *share_progress(void)
{
    struct progress *progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(progress, MAP_FAILED);
    return progress;
}

Test(vault, killed_at_any_instant_it_holds_the_old_or_the_new)
{
    struct progress *progress = share_progress();
    int n_written = 0;
    put("bystander", "still here");
    for (int i = 0; i < N_KILLS; i++) {
        kill_after((useconds_t)(i * 997 % 7000), i % 2 == 0, progress);
        int found = counter(), ended = atomic_load(&progress->ended);
        cr_assert(found == ended || found == atomic_load(&progress->begun),
                  "%d, but %d was durable", found, ended);
        holds("bystander", "still here");
        n_written = found;
        atomic_store(&progress->ended, found);
        atomic_store(&progress->begun, found);
    }
    cr_assert_geq(n_written, N_KILLS / 2);
    munmap(progress, sizeof(*progress));
}

/* While the key is made, too: what is left must open, and take a grant. */
Test(vault, killed_at_its_first_write_it_begins_again)
{
    struct progress *progress = share_progress();
    for (int i = 0; i < N_KILLS; i++) {
        for_each_file(remove_file);
        memset(progress, 0, sizeof(*progress));
        kill_after((useconds_t)(i * 61 % 3000), false, progress);
        int found = counter();
        cr_assert(found == atomic_load(&progress->ended) || found == atomic_load(&progress->begun));
        put("a", "1");
        holds("a", "1");
    }
    munmap(progress, sizeof(*progress));
}
