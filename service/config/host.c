#include "config/host.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/url.h"

enum { NAME_MAX_LEN = 253 }; /* RFC 1035, 2.3.4, as it is written */

static const char *refuse(const char *written, struct error *err)
{
    error_set(err, ERR_CONFIG, "\"%.200s\" is no host name or IP address", written);
    return NULL;
}

/* What other clients take as one is told apart. A URL may hold a password: it is not repeated. */
static const char *refuse_url(const char *written, struct error *err)
{
    struct url url;
    char port[16] = "", tls[24] = "";
    if (url_split(written, &url) < 0 || url.host.len > NAME_MAX_LEN) {
        error_set(err, ERR_CONFIG, "a host name alone is wanted, without \"://\"");
        return NULL;
    }
    if (url.port != 0)
        snprintf(port, sizeof(port), ", port: %u", url.port);
    if (url.scheme.len == 5 && strncasecmp(url.scheme.at, "smtps", 5) == 0)
        snprintf(tls, sizeof(tls), ", tls: implicit");
    error_set(err, ERR_CONFIG, "a URL is none: write host: %.*s%s%s", (int)url.host.len,
              url.host.at, port, tls);
    return NULL;
}

static const char *refuse_with_port(const char *written, const char *colon, struct error *err)
{
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || colon - written > NAME_MAX_LEN)
        return refuse(written, err);
    error_set(err, ERR_CONFIG, "the port stands apart: write host: %.*s, port: %s",
              (int)(colon - written), written, colon + 1);
    return NULL;
}

static bool is_v6(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr octets;
    len = strcspn(text, "%") < len ? strcspn(text, "%") : len; /* fe80::1%eth0 */
    snprintf(address, sizeof(address), "%.*s", (int)len, text);
    return len < sizeof(address) && inet_pton(AF_INET6, address, &octets) == 1;
}

static const char *unbracketed(const char *written, struct arena *arena, struct error *err)
{
    const char *end = strchr(written, ']');
    if (end == NULL || !is_v6(written + 1, (size_t)(end - written - 1)))
        return refuse(written, err);
    return end[1] == ':'    ? refuse_with_port(written, end + 1, err)
           : end[1] != '\0' ? refuse(written, err)
                            : arena_strndup(arena, written + 1, (size_t)(end - written - 1));
}

/* Names in DNS may have underscores, as the inside of clusters shows. */
static bool is_name(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t len = strlen(text);
    len -= len > 0 && text[len - 1] == '.';
    return len > 0 && len <= NAME_MAX_LEN && text[0] != '.' && text[0] != '-' &&
           text[strspn(text, letters)] == '\0' && strstr(text, "..") == NULL;
}

static const char *to_ascii(const char *written, struct arena *arena, struct error *err)
{
    char *ascii = NULL;
    int rc = idn2_to_ascii_8z(written, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    if (rc != IDN2_OK) {
        error_set(err, ERR_CONFIG, "\"%.200s\" is no host name: %s", written, idn2_strerror(rc));
        return NULL;
    }
    const char *name = is_name(ascii) ? arena_strdup(arena, ascii) : refuse(written, err);
    idn2_free(ascii);
    return name;
}

const char *config_host_of(const char *written, struct arena *arena, struct error *err)
{
    bool ascii = true;
    error_set(err, ERR_CONFIG, "out of memory");
    for (const char *s = written; *s != '\0'; s++) {
        if ((unsigned char)*s <= ' ' || *s == 0x7f)
            return refuse(written, err);
        ascii &= (unsigned char)*s < 0x80;
    }
    const char *colon = strchr(written, ':');
    if (strstr(written, "://") != NULL)
        return refuse_url(written, err);
    if (written[0] == '[')
        return unbracketed(written, arena, err);
    if (colon != NULL)
        return is_v6(written, strlen(written)) ? written : refuse_with_port(written, colon, err);
    if (!ascii)
        return to_ascii(written, arena, err);
    return is_name(written) ? written : refuse(written, err);
}
