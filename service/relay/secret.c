#include "relay/secret.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "config/secret.h"

struct secret {
    atomic_uint holders;
    char text[];
};

struct recipe { /* both owned */
    char *relay, *path;
};

static struct secret *secret_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct secret *secret = malloc(sizeof(*secret) + size);
    if (secret == NULL)
        return NULL;
    atomic_init(&secret->holders, 1);
    memcpy(secret->text, text, size);
    return secret;
}

struct secret *secret_ref(struct secret *secret)
{
    atomic_fetch_add(&secret->holders, 1);
    return secret;
}

void secret_unref(struct secret *secret)
{
    if (secret == NULL || atomic_fetch_sub(&secret->holders, 1) > 1)
        return;
    explicit_bzero(secret->text, strlen(secret->text));
    free(secret);
}

const char *secret_text(const struct secret *secret)
{
    return secret->text;
}

/* --- from a file -------------------------------------------------------------------------- */

static int load(const void *arg, struct reload_notes *notes, void **made_out, struct error *err)
{
    const struct recipe *recipe = arg;
    char text[CONFIG_SECRET_SIZE];
    if (!reload_note(notes, recipe->path))
        return error_set(err, ERR_CONFIG, "%s: not a regular file", recipe->path);
    if (config_read_secret_file(recipe->path, text, err) < 0)
        return -1;
    struct secret *secret = secret_new(text);
    explicit_bzero(text, sizeof(text));
    if (secret == NULL)
        return error_set(err, ERR_NOMEM, "password");
    *made_out = secret;
    return 0;
}

static void ref(void *made)
{
    secret_ref(made);
}

static void unref(void *made)
{
    secret_unref(made);
}

static bool same(const void *a, const void *b)
{
    return strcmp(secret_text(a), secret_text(b)) == 0;
}

static void drop(void *arg)
{
    struct recipe *recipe = arg;
    free(recipe->relay);
    free(recipe->path);
    free(recipe);
}

static void on_told(const void *arg, const struct error *err)
{
    const struct recipe *recipe = arg;
    if (err == NULL)
        log_info("password read again", LOG_STR("relay", recipe->relay));
    else
        log_warn("the password could not be read again; the old one stays",
                 LOG_STR("relay", recipe->relay), LOG_STR("code", error_word(err->code)),
                 LOG_STR("detail", err->detail));
}

static const struct reload_kind kind = {
    .load = load, .ref = ref, .unref = unref, .same = same, .drop = drop, .told = on_told};

static struct recipe *recipe_new(const char *relay, const char *path)
{
    struct recipe *recipe = calloc(1, sizeof(*recipe));
    if (recipe == NULL)
        return NULL;
    recipe->relay = strdup(relay);
    recipe->path = strdup(path);
    if (recipe->relay != NULL && recipe->path != NULL)
        return recipe;
    drop(recipe);
    return NULL;
}

int secret_watch(const char *relay, const char *path, const char *now, struct reloader *reloader,
                 struct reload **reload_out, struct error *err)
{
    struct stat st;
    *reload_out = NULL;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return 0;
    struct secret *made = secret_new(now);
    struct recipe *recipe = made != NULL ? recipe_new(relay, path) : NULL;
    if (recipe != NULL)
        return reload_new(&kind, recipe, made, reloader, reload_out, err);
    secret_unref(made);
    return error_set(err, ERR_NOMEM, "password");
}
