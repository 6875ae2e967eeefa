#include "config/config.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/check.h"
#include "config/decode.h"
#include "config/environment.h"
#include "config/yaml.h"

enum { FILE_MAX = 1 << 20 };
static const char DEFAULT_PATH[] = "/etc/postern/postern.yaml";

static int read_text(const char *path, struct buffer *out, struct error *err)
{
    FILE *file = fopen(path, "re");
    char chunk[4096];
    if (file == NULL)
        return error_set(err, ERR_CONFIG, "%s", strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy that nobody wipes */
    errno = 0;
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0 && !out->failed;)
        buffer_append(out, chunk, n);
    int errnum = ferror(file) != 0 ? errno : 0; /* EISDIR, for one */
    fclose(file);
    explicit_bzero(chunk, sizeof(chunk));
    if (errnum != 0)
        return error_set(err, ERR_CONFIG, "%s", strerror(errnum));
    if (out->failed && out->len + sizeof(chunk) <= FILE_MAX)
        return error_set(err, ERR_NOMEM, "out of memory");
    return out->failed ? error_set(err, ERR_CONFIG, "larger than %d octets", FILE_MAX) : 0;
}

static const char *choose_path(const char *path, const char *const *environ_)
{
    if (path == NULL)
        path = environment_get(environ_, "POSTERN_CONFIG");
    if (path != NULL && path[0] == '\0')
        path = NULL;
    if (path == NULL && access(DEFAULT_PATH, F_OK) == 0)
        path = DEFAULT_PATH;
    return path;
}

/* The file's tree, or an empty one if there is none. */
static int load_tree(const char *path, json_t **tree_out, struct yaml_lines **lines_out,
                     struct error *err)
{
    if (path == NULL) {
        *tree_out = json_object();
        return *tree_out != NULL ? 0 : error_set(err, ERR_NOMEM, "out of memory");
    }
    struct buffer text;
    buffer_init(&text, FILE_MAX);
    /* All at once: growing would leave copies of the secrets in it behind. */
    int rc = buffer_reserve(&text, FILE_MAX) != NULL ? read_text(path, &text, err)
                                                     : error_set(err, ERR_NOMEM, "out of memory");
    if (rc == 0)
        rc = yaml_load(text.data, text.len, tree_out, lines_out, err);
    if (text.data != NULL)
        explicit_bzero(text.data, text.len);
    buffer_clear(&text);
    return rc;
}

/* Where in the file that is which a check complains of: the setting itself, or what it stands in.
 */
static void tell_lines(struct error_list *errors, const char *path, const struct yaml_lines *lines)
{
    for (size_t i = 0; i < errors->n_items; i++) {
        char where[sizeof(errors->items[i].where)];
        size_t line;
        snprintf(where, sizeof(where), "%s", errors->items[i].where);
        while ((line = yaml_line_of(lines, where)) == 0 && strrchr(where, '.') != NULL)
            *strrchr(where, '.') = '\0';
        size_t n = strlen(errors->items[i].detail);
        if (line > 0)
            snprintf(errors->items[i].detail + n, sizeof(errors->items[i].detail) - n,
                     " (%s line %zu)", path, line);
    }
}

/* 0, or -1 and every fault told. */
static int understand(struct decoder *decoder, json_t *tree, struct config *config)
{
    struct error_list *errors = decoder->errors;
    environment_apply(tree, decoder->environ_, errors);
    decode_config(decoder, tree, config);
    if (errors->n_total == 0 && !arena_failed(decoder->arena)) {
        config_check(config, errors);
        tell_lines(errors, decoder->file, decoder->lines);
    }
    if (arena_failed(decoder->arena)) { /* what is missing for that was taken for other faults */
        error_list_clear(errors);
        error_list_add(errors, "", "out of memory");
    }
    return errors->n_total > 0 ? -1 : 0;
}

int config_load(const char *path, const char *const *environ_, struct config **config_out,
                struct error_list *errors)
{
    struct error err;
    struct yaml_lines *lines = NULL;
    json_t *tree = NULL;
    path = choose_path(path, environ_);
    if (load_tree(path, &tree, &lines, &err) < 0)
        return error_list_add(errors, path != NULL ? path : "", "%s", err.detail);
    struct arena *arena = arena_new_wiping();
    struct config *config = arena != NULL ? arena_alloc(arena, sizeof(*config)) : NULL;
    if (config == NULL) {
        arena_free(arena);
        yaml_tree_free(tree);
        yaml_lines_free(lines);
        return error_list_add(errors, "", "out of memory");
    }
    config->arena = arena;

    struct decoder decoder = {
        .arena = arena, .errors = errors, .environ_ = environ_, .file = path, .lines = lines};
    int rc = understand(&decoder, tree, config);
    yaml_tree_free(tree);
    yaml_lines_free(lines);
    if (rc < 0) {
        config_free(config);
        return -1;
    }
    *config_out = config;
    return 0;
}

void config_free(struct config *config)
{
    if (config != NULL)
        arena_free(config->arena); /* which wipes, and the struct itself is from */
}
