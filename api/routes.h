#ifndef POSTERN_API_ROUTES_H
#define POSTERN_API_ROUTES_H

/* The map of the API. */

#include "api/request.h"

typedef void api_handler(struct api_request *request);

struct route {
    const char *method, *path; /* "/v1/messages/{id}": one segment for {id} */
    unsigned scope;            /* enum config_scope; 0: open to all */
    api_handler *handler;
    bool takes_json; /* a body, which must be JSON; a POST without it takes none */
    bool secret;     /* ... and is one: no copy of it is left behind */
};

enum { ROUTES_MAX = 64 };

extern const struct route routes[];
extern const size_t n_routes;

/* The route, with request->param set; NULL after a 404 or 405 was given. HEAD is served as GET. */
const struct route *routes_find(struct api_request *request);

#endif
