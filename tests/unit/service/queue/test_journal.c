#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue/store.h"

/* A place for the store that has no shared memory, as file systems over the network have none:
 * SQLite keeps no write-ahead log there, and says so by the journal mode it answers, not by an
 * error. */

static sqlite3_vfs *real, without_shared_memory;

static int open_without_shared_memory(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                                      int flags, int *flags_out)
{
    static sqlite3_io_methods methods;
    int rc = real->xOpen(real, name, file, flags, flags_out);
    if (rc == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB) != 0) {
        methods = *file->pMethods;
        methods.iVersion = 1; /* those of shared memory came with 2 */
        file->pMethods = &methods;
    }
    return rc;
}

static char folder[64], path[96];

static void set_up(void)
{
    strcpy(folder, "/tmp/postern-journal-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/queue.db", folder);
}

static void tear_down(void)
{
    static const char *const files[] = {"", ".lock", ".reserve"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char file[128];
        snprintf(file, sizeof(file), "%s%s", path, files[i]);
        remove(file);
    }
    cr_expect_eq(rmdir(folder), 0, "something was left behind");
}

TestSuite(journal, .init = set_up, .fini = tear_down);

static void lose_shared_memory(void)
{
    real = sqlite3_vfs_find(NULL);
    cr_assert_not_null(real);
    without_shared_memory = *real;
    without_shared_memory.zName = "without-shared-memory";
    without_shared_memory.xOpen = open_without_shared_memory;
    cr_assert_eq(sqlite3_vfs_register(&without_shared_memory, 1), SQLITE_OK);
}

static void assert_refused(void)
{
    struct store *store = NULL;
    struct error err = {0};
    cr_assert_eq(store_sqlite.open(path, &store, &err), -1);
    cr_expect_null(store);
    cr_expect_eq(err.code, ERR_CONFIG, "%s", err.detail);
    cr_expect_not_null(strstr(err.detail, path), "%s", err.detail);
    cr_expect_not_null(strstr(err.detail, "\"delete\""), "%s", err.detail);
    cr_expect_not_null(strstr(err.detail, "use a local disk"), "%s", err.detail);
}

Test(journal, a_place_without_shared_memory_is_refused)
{
    lose_shared_memory();
    assert_refused();
    assert_refused(); /* nor does it help that there is a file now */
}

/* It was on a local disk until the folder moved: what it holds stays as it is. */
Test(journal, a_store_that_was_moved_there_is_refused_and_kept)
{
    struct store *store = NULL;
    struct error err = {0};
    cr_assert_eq(store_sqlite.open(path, &store, &err), 0, "%s", err.detail);
    store_sqlite.close(store);
    lose_shared_memory();
    cr_assert_eq(store_sqlite.open(path, &store, &err), -1);
    cr_expect_neq(err.code, ERR_STORE_BROKEN, "%s", err.detail);
    cr_assert_eq(sqlite3_vfs_register(real, 1), SQLITE_OK);
    cr_assert_eq(store_sqlite.open(path, &store, &err), 0, "%s", err.detail);
    store_sqlite.close(store);
}
