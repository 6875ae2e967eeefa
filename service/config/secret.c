#include "config/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* How many octets the file holds, of which at most `size` are in `text`; -1: see errno. */
static ssize_t read_all(const char *path, char *text, size_t size)
{
    size_t n = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while ((got = read(fd, text + n, size - n)) > 0)
        n += (size_t)got;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return got < 0 ? -1 : (ssize_t)n;
}

static int take_line(const char *path, const char *text, size_t n, char *secret_out,
                     struct error *err)
{
    if (n == CONFIG_SECRET_SIZE)
        return error_set(err, ERR_CONFIG, "%s is larger than a secret may be: %d octets", path,
                         CONFIG_SECRET_SIZE - 1);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n == 0)
        return error_set(err, ERR_CONFIG, "%s is empty", path);
    if (memchr(text, '\0', n) != NULL || memchr(text, '\n', n) != NULL)
        return error_set(err, ERR_CONFIG, "%s holds more than one line", path);
    memcpy(secret_out, text, n);
    secret_out[n] = '\0';
    return 0;
}

int config_read_secret_file(const char *path, char secret_out[CONFIG_SECRET_SIZE],
                            struct error *err)
{
    char text[CONFIG_SECRET_SIZE];
    ssize_t n = read_all(path, text, sizeof(text));
    int rc = n < 0 ? error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno))
                   : take_line(path, text, (size_t)n, secret_out, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}
