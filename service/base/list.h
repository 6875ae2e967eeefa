#ifndef POSTERN_BASE_LIST_H
#define POSTERN_BASE_LIST_H

/* Lists that are appended to: {first, end} of items with a `next`. `end` is where the next item is
 * to be linked. */

/* Append `item` or a whole list to a {first, end} list, or empty one. */
#define LIST_INIT(list) ((list)->first = NULL, (list)->end = &(list)->first)
#define LIST_APPEND(list, item)                                                                    \
    ((item)->next = NULL, *(list)->end = (item), (list)->end = &(item)->next)
#define LIST_JOIN(list, other)                                                                     \
    do {                                                                                           \
        if ((other)->first != NULL) {                                                              \
            *(list)->end = (other)->first;                                                         \
            (list)->end = (other)->end;                                                            \
        }                                                                                          \
        LIST_INIT(other);                                                                          \
    } while (0)

#endif
