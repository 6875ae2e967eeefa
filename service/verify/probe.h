#ifndef POSTERN_VERIFY_PROBE_H
#define POSTERN_VERIFY_PROBE_H

/*
 * One session of a verification: to the end of the login, or to where it would begin, and QUIT. It
 * notes in a report what it comes upon; which hint follows from that is not for it to say.
 */

#include <sys/socket.h>

#include "relay/bearer.h"
#include "relay/connect.h"
#include "verify/report.h"

struct probe_limits { /* milliseconds; the relay's own timeouts count where they are shorter */
    int64_t connect, step, all;
};

struct probe {
    struct config_relay relay; /* as it is tried; its strings are borrowed */
    struct verify_report report;
    const struct relay_files *files; /* set before it begins; NULL: it reads them */
    struct oauth_cache *tokens;      /* set before it begins; NULL: none are to be had */
    bool login;                      /* as configured; else only whether there could be one */
    struct sockaddr_storage peer;    /* whom it is connected to; a proxy, if there is one */
    int64_t deadline_ms;             /* for who holds the probe to watch: then probe_give_up() */
    bool running;

    struct session_settings settings;
    struct transport_tls *tls;
    struct session *session;
    struct bearer bearer;
    int64_t step_begun_us;
    struct error given_up;                                /* why, if it was */
    char said[sizeof(((struct verify_step *)0)->detail)]; /* the server's last line */
    void (*ended)(void *arg, struct probe *probe);
    void *arg;
};

/*
 * Begins. `probe` is zeroed, and stays where it is until `ended` has been called; that happens
 * inside of a call of the session, so probe_clear() must come later, from the loop. If it cannot
 * even begin, `ended` is called at once.
 */
void probe_start(struct probe *probe, uv_loop_t *loop, const struct config_relay *relay, bool login,
                 const struct probe_limits *limits, void (*ended)(void *arg, struct probe *probe),
                 void *arg);
/* Ends it, soon or at once; `why` becomes the report's error, unless that is ok. */
void probe_give_up(struct probe *probe, const struct error *why);
void probe_clear(struct probe *probe);

/* Makes that the report's error: for what the probe itself could not come upon. */
void probe_note_failure(struct probe *probe, enum smtp_step step, const struct error *why);

/* How long the server has let us wait for a greeting, in plain text; 0: it is not that. */
int64_t probe_silence_ms(const struct probe *probe, int64_t now_ms);
bool probe_passed(const struct probe *probe, const char *step); /* ... succeeded at least once */

#endif
