#include "cli/gateway.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/loopback.h"

/* By the very parser that will find the host for the request. */
static bool split(const char *url, bool *https_out, char host_out[256])
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL;
    bool good = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    if (good) {
        bool brackets = host[0] == '[';
        *https_out = strcasecmp(scheme, "https") == 0;
        snprintf(host_out, 256, "%.*s", (int)strcspn(host + brackets, "]"), host + brackets);
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return good;
}

bool cli_gateway_is_local(const char *url)
{
    bool https;
    char host[256];
    return split(url, &https, host) && loopback_is(host);
}

bool cli_gateway_allowed(const char *url, bool allow_plaintext)
{
    bool https;
    char host[256];
    if (!split(url, &https, host)) {
        fprintf(stderr, "postern: the gateway's address is none: write https://HOST or "
                        "http://127.0.0.1:8080\n");
        return false;
    }
    if (https || allow_plaintext || loopback_is(host))
        return true;
    fprintf(stderr,
            "postern: the API key, and what is sent, would go to %s in the clear: write https://, "
            "or --allow-plaintext if nobody else is on that network\n",
            host);
    return false;
}

int cli_gateway_key(char key_out[CONFIG_SECRET_SIZE])
{
    const char *key = getenv("POSTERN_API_KEY"), *file = getenv("POSTERN_API_KEY_FILE"), *at;
    struct error err;
    size_t len = 0;
    int rc = 0;
    key_out[0] = '\0';
    if (key != NULL && key[0] != '\0') {
        rc = config_secret_line("POSTERN_API_KEY", key, strlen(key), &at, &len, &err);
        if (rc == 0 && len >= CONFIG_SECRET_SIZE)
            rc = error_set(&err, ERR_CONFIG, "POSTERN_API_KEY is no key: it is too long");
        if (rc == 0) {
            memcpy(key_out, at, len);
            key_out[len] = '\0';
        }
    } else if (file != NULL && file[0] != '\0') {
        rc = config_read_secret_file(file, key_out, &err);
    }
    if (rc < 0)
        fprintf(stderr, "postern: %s\n", err.detail);
    return rc;
}
