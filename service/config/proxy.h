#ifndef POSTERN_CONFIG_PROXY_H
#define POSTERN_CONFIG_PROXY_H

#include "base/arena.h"
#include "config/config.h"

/*
 * "socks5://user:password@host:port" or "http://…", with special characters percent-encoded. The
 * strings are the arena's. -1 with ERR_CONFIG, which says what to write and repeats nothing of it.
 */
int config_proxy_parse(const char *url, struct arena *arena, struct config_proxy *proxy_out,
                       struct error *err);

#endif
