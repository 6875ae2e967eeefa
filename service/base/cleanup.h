#ifndef POSTERN_BASE_CLEANUP_H
#define POSTERN_BASE_CLEANUP_H

/*
 * Scope-bound release. DEFINE_CLEANUP(struct x *, x_free) beside a free function, then
 * `CLEANUP(x_free) struct x *x = NULL;` frees it on every way out of the scope.
 */

#define CLEANUP(fn) __attribute__((cleanup(fn##_cleanup)))

#define DEFINE_CLEANUP(type, fn)                                                                   \
    static inline void fn##_cleanup(type *p)                                                       \
    {                                                                                              \
        fn(*p);                                                                                    \
    }

/* The same for what lives embedded: x_clear(struct x *) rather than x_free(struct x *). */
#define DEFINE_CLEANUP_CLEAR(type, fn)                                                             \
    static inline void fn##_cleanup(type *p)                                                       \
    {                                                                                              \
        fn(p);                                                                                     \
    }

/* Hand an owned pointer over: the scope's cleanup then sees NULL. */
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#endif
