#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/reload.h"
#include "base/thread.h"

/* What is made here is the text of two files, the second of which may be missing. */

static char folder[64], one[96], two[96];
static struct reload *reload;
static struct error err;
static atomic_int n_loads, n_told, n_failed, n_made, n_dropped;
static void (*before_read)(void); /* between looking at a file and reading it */

struct made {
    atomic_uint holders;
    char text[64];
};

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static int load(const void *recipe, struct reload_notes *notes, void **made_out, struct error *why)
{
    n_loads++;
    if (!reload_note(notes, one) || !reload_note(notes, two))
        return error_set(why, ERR_CONFIG, "a pipe");
    if (before_read != NULL)
        before_read();
    struct made *made = calloc(1, sizeof(*made));
    FILE *file = fopen(one, "r");
    size_t n = file != NULL ? fread(made->text, 1, 30, file) : 0;
    if (file != NULL)
        fclose(file);
    if (n == 0) {
        free(made);
        return error_set(why, ERR_CONFIG, "nothing in it");
    }
    file = fopen(two, "r");
    if (file != NULL) {
        n += fread(made->text + n, 1, 30, file);
        fclose(file);
    }
    made->holders = 1;
    n_made++;
    *made_out = made;
    return 0;
}

static void ref(void *made)
{
    atomic_fetch_add(&((struct made *)made)->holders, 1);
}

static void unref(void *made)
{
    if (atomic_fetch_sub(&((struct made *)made)->holders, 1) > 1)
        return;
    n_made--;
    free(made);
}

static void drop(void *recipe)
{
    n_dropped++;
}

static void on_told(const void *recipe, const struct error *why)
{
    if (why == NULL)
        n_told++;
    else
        n_failed++;
}

static const struct reload_kind kind = {
    .load = load, .ref = ref, .unref = unref, .drop = drop, .told = on_told};

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/postern-reload-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(one, sizeof(one), "%s/one", folder);
    snprintf(two, sizeof(two), "%s/two", folder);
    write_text(one, "first");
}

static void open_reload(struct reloader *reloader)
{
    cr_assert_eq(reload_new(&kind, NULL, NULL, reloader, &reload, &err), 0, "%s", err.detail);
}

static void tear_down(void)
{
    reload_free(reload);
    while (threads_left())
        usleep(1000);
    cr_assert_eq(n_dropped, 1);
    cr_assert_eq(n_made, 0);
    unlink(one);
    unlink(two);
    rmdir(folder);
}

TestSuite(reload, .init = set_up, .fini = tear_down, .timeout = 60);

static void holds(const char *text)
{
    struct made *made = reload_take(reload);
    cr_assert_str_eq(made->text, text);
    unref(made);
}

/* As if it had been written long ago: only its content may tell. */
static void age(const char *path)
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(reload, what_is_written_over_it)
{
    open_reload(NULL);
    holds("first");
    write_text(one, "second");
    holds("first");
    reload_look(reload);
    holds("second");
    write_text(two, ", and more");
    reload_look(reload);
    holds("second, and more");
    cr_assert_eq(unlink(two), 0);
    reload_look(reload);
    holds("second");
    cr_assert_eq(n_told, 3);
    cr_assert_eq(reload_version(reload), 3);
}

/* Of the same size, its time put back: the inode's change tells, or the content. */
Test(reload, what_looks_the_same)
{
    age(one);
    open_reload(NULL);
    static const char *const texts[] = {"tsrif", "xxxxx", "yyyyy", "first"};
    for (int i = 0; i < 40; i++) {
        write_text(one, texts[i % 4]);
        age(one);
        reload_look(reload);
        holds(texts[i % 4]);
    }
}

/* Written again with what it had: nothing is published. */
Test(reload, what_is_the_same)
{
    open_reload(NULL);
    for (int i = 0; i < 3; i++) {
        write_text(one, "first");
        reload_look(reload);
    }
    cr_assert_eq(n_told, 0);
    cr_assert_eq(reload_version(reload), 0);
}

static void change_meanwhile(void)
{
    before_read = NULL;
    write_text(one, "later");
}

static void swap_meanwhile(void)
{
    char fresh[128];
    before_read = NULL;
    snprintf(fresh, sizeof(fresh), "%s.new", one);
    write_text(fresh, "later");
    cr_assert_eq(rename(fresh, one), 0);
}

/* Whichever of the two was read, in the end it is the newer. */
Test(reload, what_changes_while_it_is_read)
{
    void (*const ways[])(void) = {change_meanwhile, swap_meanwhile};
    before_read = change_meanwhile;
    open_reload(NULL);
    reload_look(reload);
    holds("later");
    for (int i = 0; i < 2; i++) {
        write_text(one, "early");
        before_read = ways[i];
        reload_look(reload);
        reload_look(reload);
        holds("later");
    }
}

/* As Kubernetes does it: one -> ..data/one, and ..data is a link that is swapped. */
Test(reload, a_link_in_the_way_is_swapped)
{
    char path[256], link_path[128], fresh[128], target[2][96];
    snprintf(link_path, sizeof(link_path), "%s/..data", folder);
    snprintf(fresh, sizeof(fresh), "%s/..fresh", folder);
    cr_assert_eq(unlink(one), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(target[i], sizeof(target[i]), "%s/..%d", folder, i);
        cr_assert_eq(mkdir(target[i], 0700), 0);
        snprintf(path, sizeof(path), "%s/one", target[i]);
        write_text(path, i == 0 ? "old" : "new");
        age(path);
    }
    cr_assert_eq(symlink("..0", link_path), 0);
    cr_assert_eq(symlink("..data/one", one), 0);
    open_reload(NULL);
    holds("old");
    cr_assert_eq(symlink("..1", fresh), 0);
    cr_assert_eq(rename(fresh, link_path), 0);
    reload_look(reload);
    holds("new");
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/one", target[i]);
        unlink(path);
        rmdir(target[i]);
    }
    unlink(link_path);
}

/* The last one stays; it is told once, if it was no passing thing; and what is right counts at once
 * though the files are the old ones again. */
Test(reload, what_cannot_be_made)
{
    open_reload(NULL);
    write_text(one, "");
    reload_look(reload);
    holds("first");
    cr_assert_eq(n_failed, 0);
    for (int i = 0; i < 5; i++)
        reload_look(reload);
    cr_assert_eq(n_failed, 1);
    cr_assert_eq(unlink(one), 0);
    reload_look(reload);
    holds("first");
    write_text(one, "first");
    reload_look(reload);
    holds("first");
    cr_assert_eq(n_told, 0);
    write_text(one, "");
    reload_look(reload);
    reload_look(reload);
    cr_assert_eq(n_failed, 2);
}

/* A file that has settled is not read again. */
Test(reload, nothing_changes)
{
    open_reload(NULL);
    time_t until = time(NULL) + 50;
    int before;
    do { /* until it counts as settled */
        before = n_loads;
        reload_look(reload);
        usleep(50000);
    } while (n_loads > before && time(NULL) < until);
    cr_assert_eq(n_loads, before);
    reload_look(reload);
    cr_assert_eq(n_loads, before);
}

/* Nobody waits for somebody who writes into it. */
Test(reload, a_pipe_takes_the_place_of_a_file)
{
    open_reload(NULL);
    cr_assert_eq(mkfifo(two, 0600), 0);
    reload_look(reload);
    reload_look(reload);
    holds("first");
    cr_assert_eq(n_failed, 1);
    cr_assert_eq(unlink(two), 0);
    write_text(two, "!");
    reload_look(reload);
    holds("first!");
}

/* --- the thread --------------------------------------------------------------------------- */

Test(reload, the_thread_looks_by_itself)
{
    struct reloader *reloader;
    cr_assert_eq(reloader_start(&reloader, &err), 0);
    open_reload(reloader);
    write_text(one, "second");
    while (reload_version(reload) == 0)
        usleep(1000);
    holds("second");
    write_text(one, "third");
    uint64_t kick = reloader_kick(reloader);
    while (!reloader_has_looked(reloader, kick))
        usleep(1000);
    holds("third");
    reloader_stop(reloader);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool hangs;

static void hang(void)
{
    hangs = true;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

/* A disk that does not answer: what there is can be taken, and the end does not wait. */
Test(reload, a_disk_hangs)
{
    struct reloader *reloader;
    cr_assert_eq(reloader_start(&reloader, &err), 0);
    open_reload(reloader);
    pthread_mutex_lock(&gate);
    before_read = hang;
    write_text(one, "second");
    while (!hangs)
        usleep(1000);
    holds("first");
    uint64_t kick = reloader_kick(reloader);
    cr_assert_not(reloader_has_looked(reloader, kick));
    reloader_stop(reloader);
    reload_free(reload);
    reload = NULL;
    cr_assert_eq(n_dropped, 0, "who still reads needs it");
    pthread_mutex_unlock(&gate);
}
