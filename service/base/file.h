#ifndef POSTERN_BASE_FILE_H
#define POSTERN_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* The first `size` octets of a file, or all it has. How many: `size` means that there may be more;
 * -1: see errno. May wait for a disk. */
ssize_t file_read(const char *path, void *out, size_t size);

#endif
