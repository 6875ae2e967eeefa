#ifndef POSTERN_API_PARTING_H
#define POSTERN_API_PARTING_H

/*
 * A last answer on a socket behind the library's back, where it cannot give ours: in the middle of
 * a body, and where it would answer itself. In the clear only; our side of the socket is shut down
 * then, so that nothing of the library's follows.
 */

#include <stddef.h>

#include "api/problem.h"

/* The problem of a status that the library gives to what it cannot read. */
enum problem parting_problem(unsigned status);
void parting_send(int fd, const char *reason, const char *request_id, enum problem problem,
                  const char *detail);

#endif
