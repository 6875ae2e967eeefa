#include "config/secret.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"

static bool begins_with(const char *text, size_t n, const char *mark)
{
    return n >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0;
}

int config_secret_line(const char *name, const char *text, size_t len, const char **secret_out,
                       size_t *len_out, struct error *err)
{
    bool wide = begins_with(text, len, "\xff\xfe") || begins_with(text, len, "\xfe\xff");
    if (wide && memchr(text, '\0', len) != NULL)
        return error_set(err, ERR_CONFIG, "%s is UTF-16: save it as UTF-8", name);
    text = bytes_behind_mark(text, &len);
    len = bytes_len_without_line_end(text, len);
    if (len == 0)
        return error_set(err, ERR_CONFIG, "%s is empty", name);
    if (memchr(text, '\0', len) != NULL || memchr(text, '\n', len) != NULL)
        return error_set(err, ERR_CONFIG, "%s holds more than one line", name);
    *secret_out = text;
    *len_out = len;
    return 0;
}

static int take_line(const char *path, const char *text, size_t n, char *secret_out,
                     struct error *err)
{
    const char *secret;
    if (n == CONFIG_SECRET_SIZE)
        return error_set(err, ERR_CONFIG, "%s is larger than a secret may be: %d octets", path,
                         CONFIG_SECRET_SIZE - 1);
    if (config_secret_line(path, text, n, &secret, &n, err) < 0)
        return -1;
    memcpy(secret_out, secret, n);
    secret_out[n] = '\0';
    return 0;
}

int config_read_secret_file(const char *path, char secret_out[CONFIG_SECRET_SIZE],
                            struct error *err)
{
    char text[CONFIG_SECRET_SIZE];
    ssize_t n = file_read(path, text, sizeof(text));
    int rc = n < 0 ? error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno))
                   : take_line(path, text, (size_t)n, secret_out, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}
