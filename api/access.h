#ifndef POSTERN_API_ACCESS_H
#define POSTERN_API_ACCESS_H

/* What is counted and logged of a request that has ended. */

#include "api/routes.h"

/* `route` NULL: none was found, or none was looked for. A status of 0: the client was gone, or cut
 * off at a deadline, before an answer. Any thread. */
void access_note(const struct api_request *request, const struct route *route, int status,
                 int64_t took_us);

/* One that could not be read as far as to have a route. */
void access_note_unread(int status);

#endif
