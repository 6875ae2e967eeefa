#ifndef POSTERN_VERIFY_PROBE_H
#define POSTERN_VERIFY_PROBE_H

/*
 * One session of a verification: to the end of the login, or to where it would begin, and QUIT. It
 * notes in a report what it comes upon; which hint follows from that is not for it to say.
 */

#include <sys/socket.h>

#include "relay/bearer.h"
#include "verify/verify.h"

struct walk_limits { /* milliseconds; the relay's own timeouts count where they are shorter */
    int64_t connect, step, all;
};

struct walk {
    struct config_relay relay; /* as it is tried; its strings are borrowed */
    struct verify_report report;
    const struct verify_files *files; /* set before it begins; NULL: it reads them */
    struct oauth_cache *tokens;       /* set before it begins; NULL: none are to be had */
    bool login;                       /* as configured; else only whether there could be one */
    struct sockaddr_storage peer;     /* whom it is connected to; a proxy, if there is one */
    int64_t deadline_ms;              /* for who holds the walk to watch: then walk_give_up() */
    bool running;

    struct session_settings settings;
    struct transport_tls *tls;
    struct session *session;
    struct bearer bearer;
    int64_t step_begun_us;
    struct error given_up;                                /* why, if it was */
    char said[sizeof(((struct verify_step *)0)->detail)]; /* the server's last line */
    void (*ended)(void *arg, struct walk *walk);
    void *arg;
};

/*
 * Begins. `walk` is zeroed, and stays where it is until `ended` has been called; that happens
 * inside of a call of the session, so walk_clear() must come later, from the loop. If it cannot
 * even begin, `ended` is called at once.
 */
void walk_start(struct walk *walk, uv_loop_t *loop, const struct config_relay *relay, bool login,
                const struct walk_limits *limits, void (*ended)(void *arg, struct walk *walk),
                void *arg);
/* Ends it, soon or at once; `why` becomes the report's error, unless that is ok. */
void walk_give_up(struct walk *walk, const struct error *why);
void walk_clear(struct walk *walk);

/* Makes that the report's error: for what the walk itself could not come upon. */
void walk_note_failure(struct walk *walk, enum smtp_step step, const struct error *why);

/* How long the server has let us wait for a greeting, in plain text; 0: it is not that. */
int64_t walk_silence_ms(const struct walk *walk, int64_t now_ms);
bool walk_passed(const struct walk *walk, const char *step); /* ... succeeded at least once */

#endif
