#ifndef POSTERN_API_LAST_READ_H
#define POSTERN_API_LAST_READ_H

/*
 * Which socket this thread read last. libmicrohttpd answers some malformed requests itself, and all
 * it tells is a line to its log, on the connection's thread, that names no connection. It has read
 * from it just before, by recv(), which is ours: it notes the socket and calls the kernel.
 */

int last_read(void);       /* -1: none */
void last_read_is(int fd); /* the library goes on with this one without reading */

#endif
