#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/problem.h"

const struct route routes[] = {
    {"POST", "/v1/messages", SCOPE_SEND, messages_post, .takes_json = true},
    {"GET", "/v1/messages/{id}", SCOPE_READ, messages_get},
    {"GET", "/v1/relays", SCOPE_READ, relays_list},
    {"GET", "/v1/relays/{name}", SCOPE_READ, relays_get},
    {"POST", "/v1/relays/{name}/verify", SCOPE_ADMIN, relays_verify},
    {"POST", "/v1/relays/{name}/pause", SCOPE_ADMIN, relays_pause},
    {"POST", "/v1/relays/{name}/resume", SCOPE_ADMIN, relays_resume},
    {"PUT", "/v1/oauth/{name}/grant", SCOPE_ADMIN, oauth_put_grant, .takes_json = true,
     .secret = true},
    {"GET", "/v1/sandbox/messages", SCOPE_READ, sandbox_messages_list},
    {"DELETE", "/v1/sandbox/messages", SCOPE_ADMIN, sandbox_messages_delete},
    {"GET", "/v1/sandbox/messages/{id}", SCOPE_READ, sandbox_messages_get},
    {"GET", "/v1/sandbox/messages/{id}/raw", SCOPE_READ, sandbox_messages_raw},
    {"GET", "/livez", 0, status_livez},
    {"GET", "/readyz", 0, status_readyz},
    {"GET", "/metrics", 0, status_metrics},
    {"GET", "/openapi.yaml", 0, status_openapi},
    {"GET", "/problems/{name}", 0, problem_describe},
    {"GET", "/", 0, status_root},
};
const size_t n_routes = sizeof(routes) / sizeof(routes[0]);
_Static_assert(sizeof(routes) / sizeof(routes[0]) <= ROUTES_MAX, "ROUTES_MAX");

/* Segment by segment, without any normalising: "/v1/../metrics" is no route. */
static bool matches(const char *pattern, const char *path, struct arena *arena, const char **param)
{
    while (*pattern != '\0' && *path != '\0') {
        if (*pattern == '{') {
            size_t n = strcspn(path, "/");
            if (n == 0)
                return false;
            *param = arena_strndup(arena, path, n);
            pattern += strcspn(pattern, "}") + 1;
            path += n;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *pattern == '\0' && *path == '\0';
}

const struct route *routes_find(struct api_request *request)
{
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    char allow[64] = "";
    for (size_t i = 0; i < n_routes; i++) {
        const char *param = NULL;
        if (!matches(routes[i].path, request->path, request->arena, &param))
            continue;
        if (strcmp(method, routes[i].method) == 0) {
            request->param = param != NULL ? param : "";
            return &routes[i];
        }
        snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s%s",
                 allow[0] != '\0' ? ", " : "", routes[i].method,
                 strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allow[0] == '\0') {
        problem_respond(request, PROBLEM_NOT_FOUND, NULL);
        return NULL;
    }
    const char *value = arena_strdup(request->arena, allow);
    if (value != NULL)
        api_add_header(request, "Allow", value);
    problem_respond(request, PROBLEM_METHOD_NOT_ALLOWED, NULL);
    return NULL;
}
