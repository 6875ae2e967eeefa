#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "api/handlers.h"
#include "api/routes.h"
#include "fake_request.h"

struct row {
    const char *method, *path;
    int status; /* 0: found */
    const char *found, *param;
};

static const struct row rows[] = {
    {"GET", "/", 0, "/", ""},
    {"POST", "/v1/messages", 0, "/v1/messages", ""},
    {"GET", "/v1/messages/msg_1", 0, "/v1/messages/{id}", "msg_1"},
    {"HEAD", "/v1/messages/msg_1", 0, "/v1/messages/{id}", "msg_1"},
    {"GET", "/v1/sandbox/messages/7/raw", 0, "/v1/sandbox/messages/{id}/raw", "7"},
    {"GET", "/v1/sandbox/messages/a%2Fb", 0, "/v1/sandbox/messages/{id}", "a%2Fb"},
    {"GET", "/nothing", 404, NULL, NULL},
    {"GET", "", 404, NULL, NULL},
    {"GET", "*", 404, NULL, NULL},
    {"GET", "//livez", 404, NULL, NULL},
    {"GET", "/livez/", 404, NULL, NULL},
    {"GET", "/Livez", 404, NULL, NULL},
    {"GET", "/v1/messages/", 404, NULL, NULL},
    {"GET", "/v1/messages/../metrics", 404, NULL, NULL},
    {"GET", "/v1/../metrics", 404, NULL, NULL},
    {"GET", "/v1/messages/a/b", 404, NULL, NULL},
    {"PUT", "/v1/messages", 405, "POST", NULL},
    {"HEAD", "/v1/messages", 405, "POST", NULL},
    {"POST", "/livez", 405, "GET, HEAD", NULL},
    {"get", "/livez", 405, "GET, HEAD", NULL},
    {"PATCH", "/v1/sandbox/messages", 405, "GET, HEAD, DELETE", NULL},
};

Test(routes, are_found_as_they_stand)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_request fake;
        fake_request_init(&fake, NULL, rows[i].method, rows[i].path, NULL);
        const struct route *route = routes_find(&fake.request);
        cr_assert_eq(fake.request.response.status, rows[i].status, "%s %s", rows[i].method,
                     rows[i].path);
        if (rows[i].status == 0) {
            cr_assert_str_eq(route->path, rows[i].found);
            cr_assert_str_eq(fake.request.param, rows[i].param);
        } else {
            cr_assert_null(route);
        }
        if (rows[i].status == 405)
            cr_assert_str_eq(fake_response_header(&fake, "Allow"), rows[i].found);
        fake_request_clear(&fake);
    }
}

Test(routes, only_what_tells_of_the_process_is_open)
{
    for (size_t i = 0; i < n_routes; i++)
        cr_expect_eq(routes[i].scope == 0, strncmp(routes[i].path, "/v1/", 4) != 0, "%s",
                     routes[i].path);
}

/* --- against the specification ------------------------------------------------------------ */

struct documented {
    char method[8], path[64];
};

/* The paths of openapi.yaml: its layout is ours, so lines are enough. */
static size_t read_specification(struct documented *out, size_t most)
{
    struct fake_request fake;
    char path[64] = "";
    bool inside = false;
    size_t n = 0;
    fake_request_init(&fake, NULL, "GET", "/openapi.yaml", NULL);
    status_openapi(&fake.request);
    char *text = strndup(fake.request.response.body.data, fake.request.response.body.len),
         *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        size_t len = strlen(line);
        if (line[0] != ' ')
            inside = strcmp(line, "paths:") == 0;
        else if (inside && strncmp(line, "  /", 3) == 0 && line[len - 1] == ':')
            snprintf(path, sizeof(path), "%.*s", (int)(len - 3), line + 2);
        else if (inside && strncmp(line, "    ", 4) == 0 && islower((unsigned char)line[4]) &&
                 line[len - 1] == ':' && n < most) {
            for (size_t i = 0; i + 5 < len && i < sizeof(out[n].method) - 1; i++)
                out[n].method[i] = (char)toupper((unsigned char)line[4 + i]);
            snprintf(out[n++].path, sizeof(out[0].path), "%s", path);
        }
    }
    free(text);
    fake_request_clear(&fake);
    return n;
}

Test(routes, and_the_specification_have_the_same)
{
    struct documented documented[64] = {0};
    bool seen[64] = {0};
    size_t n = read_specification(documented, 64);
    for (size_t i = 0; i < n_routes; i++) {
        size_t k = 0;
        while (k < n && (strcmp(documented[k].method, routes[i].method) != 0 ||
                         strcmp(documented[k].path, routes[i].path) != 0))
            k++;
        cr_expect_lt(k, n, "%s %s is not in openapi.yaml", routes[i].method, routes[i].path);
        seen[k < n ? k : 63] = true;
    }
    for (size_t k = 0; k < n; k++)
        cr_expect(seen[k], "%s %s of openapi.yaml is no route", documented[k].method,
                  documented[k].path);
    cr_assert_eq(n, n_routes);
}
