#ifndef POSTERN_API_HANDLERS_H
#define POSTERN_API_HANDLERS_H

#include "api/request.h"

void messages_post(struct api_request *request);
void messages_get(struct api_request *request);

void relays_list(struct api_request *request);
void relays_get(struct api_request *request);
void relays_verify(struct api_request *request);
void relays_pause(struct api_request *request);
void relays_resume(struct api_request *request);

void oauth_put_grant(struct api_request *request);

void sandbox_messages_list(struct api_request *request);
void sandbox_messages_get(struct api_request *request);
void sandbox_messages_raw(struct api_request *request);
void sandbox_messages_delete(struct api_request *request);

void status_livez(struct api_request *request);
void status_readyz(struct api_request *request);
void status_metrics(struct api_request *request);
void status_openapi(struct api_request *request);
void status_root(struct api_request *request);

#endif
