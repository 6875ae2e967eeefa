#include "relay/identity.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/secret.h"
#include "relay/connect.h"

enum { LOOK_MS = 1000 };

static struct identity *with_password(const struct config_relay *settings, const char *password)
{
    size_t len = password != NULL ? strlen(password) : 0;
    struct identity *identity = calloc(1, sizeof(*identity) + len + 1);
    if (identity == NULL)
        return NULL;
    identity->refs = 1;
    identity->settings = settings;
    if (password != NULL)
        memcpy(identity->password, password, len + 1);
    return identity;
}

/* The session borrows the password from the identity it belongs to. */
static void fill_session(struct identity *identity, struct transport_tls *tls,
                         struct addresses *addresses)
{
    connect_settings(identity->settings, &identity->session);
    identity->session.tls_context = tls;
    identity->session.addresses = addresses;
    if (identity->session.smtp.credentials.password != NULL)
        identity->session.smtp.credentials.password = identity->password;
}

static void note_file(struct identity *identity, const struct stat *st)
{
    identity->file.changed_s = st->st_mtim.tv_sec;
    identity->file.changed_ns = st->st_mtim.tv_nsec;
    identity->file.size = st->st_size;
    identity->file.inode = st->st_ino;
}

static bool is_noted(const struct identity *identity, const struct stat *st)
{
    return identity->file.changed_s == st->st_mtim.tv_sec &&
           identity->file.changed_ns == st->st_mtim.tv_nsec && identity->file.size == st->st_size &&
           identity->file.inode == st->st_ino;
}

int identity_new(const struct config_relay *settings, struct transport_tls *tls,
                 struct addresses *addresses, struct identity **identity_out, struct error *err)
{
    struct stat st;
    struct identity *identity = with_password(settings, settings->auth.password);
    if (identity == NULL)
        return error_set(err, ERR_NOMEM, "relay");
    if (settings->auth.password_file != NULL && stat(settings->auth.password_file, &st) == 0)
        note_file(identity, &st);
    fill_session(identity, tls, addresses);
    *identity_out = identity;
    return 0;
}

void identity_unref(struct identity *identity)
{
    if (identity == NULL || --identity->refs > 0)
        return;
    explicit_bzero(identity->password, strlen(identity->password));
    free(identity);
}

static struct identity *read_again(struct identity *old, const struct stat *st, struct error *err)
{
    char password[CONFIG_SECRET_SIZE];
    struct identity *identity = NULL;
    if (config_read_secret_file(old->settings->auth.password_file, password, err) < 0)
        return NULL;
    if (strcmp(password, old->password) != 0)
        identity = with_password(old->settings, password);
    explicit_bzero(password, sizeof(password));
    note_file(identity != NULL ? identity : old, st);
    if (identity != NULL) {
        fill_session(identity, old->session.tls_context, old->session.addresses);
        identity->session.smtp.login_memory = old->session.smtp.login_memory;
    }
    return identity;
}

struct identity *identity_renew(struct identity *identity, int64_t now_ms, struct error *err)
{
    struct stat st;
    const char *path = identity->settings->auth.password_file;
    *err = (struct error){0};
    if (path == NULL || now_ms - identity->looked_ms < LOOK_MS)
        return NULL;
    identity->looked_ms = now_ms;
    /* One that is gone for a moment is being replaced. */
    return stat(path, &st) == 0 && !is_noted(identity, &st) ? read_again(identity, &st, err) : NULL;
}
