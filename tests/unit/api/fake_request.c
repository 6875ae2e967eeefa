#include "fake_request.h"

#include <criterion/criterion.h>
#include <string.h>
#include <strings.h>

static const char *find(const struct api_header *headers, const char *name)
{
    for (; headers != NULL && headers->name != NULL; headers++)
        if (strcasecmp(headers->name, name) == 0)
            return headers->value;
    return NULL;
}

static const char *get_header(const struct api_request *request, const char *name)
{
    return find(((const struct fake_request *)request)->headers, name);
}

static const char *get_header_list(const struct api_request *request, const char *name)
{
    const char *all = NULL;
    for (const struct api_header *h = ((const struct fake_request *)request)->headers;
         h != NULL && h->name != NULL; h++)
        if (strcasecmp(h->name, name) == 0)
            all = all == NULL ? h->value : arena_printf(request->arena, "%s, %s", all, h->value);
    return all;
}

static const char *get_query(const struct api_request *request, const char *name)
{
    return find(((const struct fake_request *)request)->query, name);
}

static void on_complete(struct api_request *request)
{
    struct fake_request *fake = (struct fake_request *)request;
    pthread_mutex_lock(&fake->lock);
    fake->n_responses++;
    pthread_cond_signal(&fake->news);
    pthread_mutex_unlock(&fake->lock);
}

void fake_request_init(struct fake_request *fake, const struct api_context *context,
                       const char *method, const char *path, const char *body)
{
    *fake = (struct fake_request){.request = {.context = context,
                                              .method = method,
                                              .path = path,
                                              .param = "",
                                              .header = get_header,
                                              .header_list = get_header_list,
                                              .query = get_query,
                                              .complete = on_complete}};
    fake->request.arena = arena_new();
    buffer_init(&fake->request.body, 1 << 20);
    if (body != NULL)
        buffer_append_str(&fake->request.body, body);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->news, NULL);
}

void fake_request_wait(struct fake_request *fake)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->n_responses == 0)
        pthread_cond_wait(&fake->news, &fake->lock);
    cr_assert_eq(fake->n_responses, 1);
    pthread_mutex_unlock(&fake->lock);
}

void fake_request_clear(struct fake_request *fake)
{
    buffer_clear(&fake->request.response.body);
    buffer_clear(&fake->request.body);
    arena_free(fake->request.arena);
    pthread_cond_destroy(&fake->news);
    pthread_mutex_destroy(&fake->lock);
}

json_t *fake_response_json(const struct fake_request *fake)
{
    const struct api_response *response = &fake->request.response;
    cr_assert_not_null(response->body.data);
    json_t *json = json_loadb(response->body.data, response->body.len, 0, NULL);
    cr_assert_not_null(json, "%.*s", (int)response->body.len, response->body.data);
    return json;
}

const char *fake_response_header(const struct fake_request *fake, const char *name)
{
    const struct api_response *response = &fake->request.response;
    for (size_t i = 0; i < response->n_headers; i++)
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    return NULL;
}
