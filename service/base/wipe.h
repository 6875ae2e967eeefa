#ifndef POSTERN_BASE_WIPE_H
#define POSTERN_BASE_WIPE_H

/* free() of memory that may hold secrets: all that malloc() gave is wiped first. For libraries that
 * let us choose, as jansson does, whose trees and scanner see grants and tokens. NULL is fine. */
void wipe_free(void *p);

#endif
