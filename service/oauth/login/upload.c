#include "oauth/login/upload.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "net/http.h"

enum { TIMEOUT_MS = 30 * 1000, ANSWER_MAX = 64 * 1024 };

struct upload {
    int rc;
    struct error *err;
};

static int judge(const struct http_response *response, struct error *err)
{
    json_auto_t *root = json_loadb(response->body, response->body_len, 0, NULL);
    const char *detail = json_string_value(json_object_get(root, "detail"));
    enum error_code code = response->status == 401 || response->status == 403 ? ERR_FORBIDDEN
                           : response->status == 404                          ? ERR_NOT_FOUND
                                                                              : ERR_PROTOCOL;
    if (response->status == 200 || response->status == 204)
        return 0;
    return error_set(err, code, "the gateway answered %d%s%s", response->status,
                     detail != NULL ? ": " : "", detail != NULL ? detail : "");
}

static void on_done(void *arg, const struct http_response *response, const struct error *why)
{
    struct upload *h = arg;
    if (response != NULL)
        h->rc = judge(response, h->err);
    else
        *h->err = *why;
}

static int run(const struct http_request *request, struct error *err)
{
    struct upload h = {.rc = -1, .err = err};
    struct http_client *client = NULL;
    uv_loop_t loop;
    if (uv_loop_init(&loop) < 0)
        return error_set(err, ERR_NOMEM, "loop");
    if (http_client_new(&loop, &(struct http_settings){0}, &client, err) == 0) {
        if (http_start(client, request, on_done, &h) == NULL)
            error_set(err, ERR_NOMEM, "request");
        uv_run(&loop, UV_RUN_DEFAULT);
        http_client_free(client);
    }
    while (uv_loop_close(&loop) == UV_EBUSY)
        uv_run(&loop, UV_RUN_DEFAULT);
    return h.rc;
}

/* Neither jansson's copy is left behind, nor the pieces of a text that grew. */
static char *make_body(const char *refresh_token, struct arena *arena)
{
    json_auto_t *root = json_pack("{s:s}", "refresh_token", refresh_token);
    size_t len = root != NULL ? json_dumpb(root, NULL, 0, JSON_COMPACT) : 0;
    char *body = len > 0 ? arena_alloc(arena, len + 1) : NULL;
    const char *copy = json_string_value(json_object_get(root, "refresh_token"));
    if (body != NULL)
        json_dumpb(root, body, len, JSON_COMPACT);
    if (copy != NULL)
        explicit_bzero((char *)copy, strlen(copy));
    return body;
}

/* RFC 3986, 2: in a path a space is no "+". */
static const char *encode_segment(const char *name, struct arena *arena)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *segment = arena_alloc(arena, 3 * strlen(name) + 1), *to = segment;
    for (; to != NULL && *name != '\0'; name++)
        to += snprintf(to, 4, strchr(unreserved, *name) != NULL ? "%c" : "%%%02X",
                       (unsigned char)*name);
    return segment;
}

static char *make_url(const char *gateway, const char *name, struct arena *arena)
{
    size_t n = strlen(gateway);
    const char *segment = encode_segment(name, arena);
    while (n > 0 && gateway[n - 1] == '/')
        n--;
    return segment != NULL ? arena_printf(arena, "%.*s/v1/oauth/%s/grant", (int)n, gateway, segment)
                           : NULL;
}

int oauth_upload_grant(const char *gateway, const char *key, const char *name,
                       const char *refresh_token, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
    if (arena == NULL)
        return error_set(err, ERR_NOMEM, "request");
    const char *authorization = key != NULL ? arena_printf(arena, "Bearer %s", key) : "";
    const char *body = make_body(refresh_token, arena), *url = make_url(gateway, name, arena);
    if (authorization == NULL || body == NULL || url == NULL)
        return error_set(err, ERR_NOMEM, "request");
    const struct http_header headers[] = {{"Content-Type", "application/json"},
                                          {"Authorization", authorization}};
    const struct http_request request = {.url = url,
                                         .method = "PUT",
                                         .headers = headers,
                                         .n_headers = key != NULL ? 2 : 1,
                                         .body = body,
                                         .body_len = strlen(body),
                                         .timeout_ms = TIMEOUT_MS,
                                         .response_max = ANSWER_MAX,
                                         .once = true};
    return run(&request, err);
}
