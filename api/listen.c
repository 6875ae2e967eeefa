#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/server.h"

enum { BACKLOG = 1024 };

/* One in use is another process's doing: to start again later may help. */
static enum error_code code_of(int errnum)
{
    return errnum == EADDRINUSE ? ERR_IO : ERR_CONFIG;
}

/* -1 with errno. The mode is set before anybody can connect. */
static int bind_unix(int fd, const struct sockaddr_un *address)
{
    struct stat st;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN) {
        errno = EADDRINUSE; /* somebody is listening: not ours to take away */
        return -1;
    }
    if (lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) /* left by a dead process */
        unlink(address->sun_path);
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        return -1;
    return chmod(address->sun_path, 0660) < 0 || listen(fd, BACKLOG) < 0 ? -1 : 0;
}

static int listen_unix(const char *path, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path) + 1;
    if (size > sizeof(address.sun_path))
        return error_set(err, ERR_CONFIG, "listen: the path %s is too long for a socket", path);
    memcpy(address.sun_path, path, size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind_unix(fd, &address) == 0)
        return fd;
    error_set(err, code_of(errno), "listen: unix:%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int listen_on(const struct addrinfo *info)
{
    int on = 1;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

/* getaddrinfo() takes 99999 for 34463. */
static bool is_port(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && n <= 5 && s[n] == '\0' && strtoul(s, NULL, 10) <= UINT16_MAX;
}

void server_address(int fd, const char *address, char out[SERVER_ADDRESS_SIZE])
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } bound = {.any.sa_family = AF_UNSPEC};
    socklen_t size = sizeof(bound);
    snprintf(out, SERVER_ADDRESS_SIZE, "%s", address);
    char *colon = strrchr(out, ':');
    if (strncmp(address, "unix:", 5) == 0 || colon == NULL ||
        getsockname(fd, &bound.any, &size) < 0)
        return;
    unsigned port =
        ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
    snprintf(colon + 1, SERVER_ADDRESS_SIZE - (size_t)(colon + 1 - out), "%u", port);
}

int server_listen(const char *address, struct error *err)
{
    char host[256];
    if (strncmp(address, "unix:", 5) == 0)
        return listen_unix(address + 5, err);
    const char *colon = strrchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) : 0;
    bool bracketed = n >= 2 && address[0] == '[' && address[n - 1] == ']';
    if (colon == NULL || !is_port(colon + 1) || n >= sizeof(host))
        return error_set(err, ERR_CONFIG, "listen: %s is none of host:port, [::1]:port, unix:/path",
                         address);
    snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? n - 2 : n),
             address + (bracketed ? 1 : 0));

    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *info;
    int rc = getaddrinfo(host[0] != '\0' ? host : NULL, colon + 1, &hints, &info);
    if (rc != 0)
        return error_set(err, ERR_CONFIG, "listen: %s: %s", address, gai_strerror(rc));
    int fd = listen_on(info);
    int errnum = errno;
    freeaddrinfo(info);
    if (fd < 0)
        return error_set(err, code_of(errnum), "listen: %s: %s", address, strerror(errnum));
    return fd;
}
