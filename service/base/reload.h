#ifndef POSTERN_BASE_RELOAD_H
#define POSTERN_BASE_RELOAD_H

/*
 * Things that are made from files (passwords, certificates) and are made anew when the files
 * change, by one thread that does nothing else:
 *
 *     files ── looked at once a second ──► changed ──► made anew, under no lock ──► published
 *
 * Whoever uses one takes what is published, by a pointer under a short lock, and never touches the
 * disk. What cannot be made leaves the last one in place.
 *
 * A file is another when its device, inode, size or either of its times is: so what is renamed over
 * it is noticed, and a link that leads elsewhere (as Kubernetes swaps them). A file that changed in
 * the last moments before it was read could change again and look the same, because a file's times
 * go by ticks: it is read again, and compared by its content, until it is older than that.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* --- the thread --------------------------------------------------------------------------- */

struct reloader;

/* ERR_NOMEM, ERR_IO: no thread is to be had. */
int reloader_start(struct reloader **reloader_out, struct error *err);
/* Looks at nothing more; waits for nothing, for the disk may hang. NULL is fine. */
void reloader_stop(struct reloader *reloader);

/* Any thread: look now, not in a second. A number for the other function: */
uint64_t reloader_kick(struct reloader *reloader);
/* Has everything been looked at since? */
bool reloader_has_looked(struct reloader *reloader, uint64_t kick);

/* --- what is made of files ---------------------------------------------------------------- */

struct reload;
struct reload_notes; /* which files something was made of, and how they were then */

struct reload_kind {
    /* On the reloader's thread, or in reload_new(): notes each file, then reads it. What is made
     * has one reference, the caller's. */
    int (*load)(const void *recipe, struct reload_notes *notes, void **made_out, struct error *err);
    void (*ref)(void *made);
    void (*unref)(void *made);
    bool (*same)(const void *a, const void *b); /* NULL: the contents of the files say it */
    void (*drop)(void *recipe);
    /* It was made anew, or (`err` not NULL) could not be, which is told once. On the reloader's
     * thread, under no lock. */
    void (*told)(const void *recipe, const struct error *err);
};

/* How `path` is now (NULL is fine: nothing), before it is read. false: it is no regular file, which
 * can be read once only, and this is not the first time. */
bool reload_note(struct reload_notes *notes, const char *path);

/*
 * Takes `recipe`, which must not borrow from what may be gone while a disk hangs, and `made`; that
 * is NULL if it is to be loaded now, else it was made before and is compared at the first look.
 * `reloader` NULL: nobody looks but who calls reload_look(). -1 as load() does, `recipe` dropped.
 */
int reload_new(const struct reload_kind *kind, void *recipe, void *made, struct reloader *reloader,
               struct reload **reload_out, struct error *err);
void reload_free(struct reload *reload); /* any time; NULL is fine */

/* What is published: a reference. Any thread; does not wait. */
void *reload_take(struct reload *reload);
/* Counts up with each that is published. */
uint64_t reload_version(const struct reload *reload);

/* Look at the files now, on a thread that may wait for a disk. */
void reload_look(struct reload *reload);

#endif
