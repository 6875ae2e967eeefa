#include "base/authorities.h"

#include <ctype.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

DEFINE_CLEANUP(X509_STORE *, X509_STORE_free)

static int fail(struct error *err)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return error_set(err, ERR_CONFIG, "%s", reason != NULL ? reason : "unknown reason");
}

static int load_file(X509_STORE *store, const char *path, struct error *err)
{
    ERR_clear_error();
    int rc = X509_STORE_load_file(store, path) == 1 ? 0 : fail(err);
    ERR_clear_error();
    return rc;
}

/* --- the system's ------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static X509_STORE *shared;                               /* NULL: none yet */
static int64_t shared_facts[4];                          /* of its file and folder */

static const char *place(const char *variable, const char *built_in)
{
    const char *given = getenv(variable);
    return given != NULL ? given : built_in;
}

/* "5ed36f99.0": under such names OpenSSL would look for them. */
static bool is_hashed(const char *name)
{
    for (int i = 0; i < 8; i++)
        if (!isxdigit((unsigned char)name[i]))
            return false;
    return name[8] == '.' && isdigit((unsigned char)name[9]);
}

/* One that cannot be read is as good as none, as it is for OpenSSL. */
static void load_folder(X509_STORE *store, const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;) {
        char path[4096];
        if (is_hashed(item->d_name) &&
            snprintf(path, sizeof(path), "%s/%s", folder, item->d_name) < (int)sizeof(path))
            load_file(store, path, NULL);
    }
    if (dir != NULL)
        closedir(dir);
}

/* Several folders may be named, with ":" between them. */
static void load_folders(X509_STORE *store, const char *folders)
{
    char *copy = strdup(folders), *rest = copy;
    for (char *folder; copy != NULL && (folder = strsep(&rest, ":")) != NULL;)
        load_folder(store, folder);
    free(copy);
}

static void take_facts(const char *path, int64_t facts[2])
{
    struct stat st;
    bool found = stat(path, &st) == 0;
    facts[0] = found ? (int64_t)st.st_ino : 0;
    facts[1] = found ? st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec : 0;
}

static X509_STORE *take_shared(const int64_t facts[4])
{
    pthread_mutex_lock(&lock);
    bool good = shared != NULL && memcmp(shared_facts, facts, sizeof(shared_facts)) == 0;
    X509_STORE *store = good && X509_STORE_up_ref(shared) == 1 ? shared : NULL;
    pthread_mutex_unlock(&lock);
    return store;
}

static void share(X509_STORE *store, const int64_t facts[4])
{
    pthread_mutex_lock(&lock);
    X509_STORE *old = shared;
    shared = X509_STORE_up_ref(store) == 1 ? store : NULL;
    memcpy(shared_facts, facts, sizeof(shared_facts));
    pthread_mutex_unlock(&lock);
    X509_STORE_free(old);
}

static int load_system(struct reload_notes *notes, X509_STORE **store_out, struct error *err)
{
    const char *file = place(X509_get_default_cert_file_env(), X509_get_default_cert_file());
    const char *folders = place(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
    int64_t facts[4];
    reload_note(notes, file);
    reload_note(notes, folders);
    take_facts(file, facts);
    take_facts(folders, facts + 2);
    *store_out = take_shared(facts);
    if (*store_out != NULL)
        return 0;
    CLEANUP(X509_STORE_free) X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return error_set(err, ERR_NOMEM, "certificate authorities");
    load_file(store, file, NULL);
    load_folders(store, folders);
    share(store, facts);
    *store_out = TAKE(store);
    return 0;
}

int authorities_load(const char *path, struct reload_notes *notes, X509_STORE **store_out,
                     struct error *err)
{
    if (path == NULL)
        return load_system(notes, store_out, err);
    CLEANUP(X509_STORE_free) X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return error_set(err, ERR_NOMEM, "certificate authorities");
    if (!reload_note(notes, path))
        return error_set(err, ERR_CONFIG, "not a file that can be read again");
    if (load_file(store, path, err) < 0)
        return -1;
    *store_out = TAKE(store);
    return 0;
}
