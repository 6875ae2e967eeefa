#ifndef POSTERN_CONFIG_EHLO_NAME_H
#define POSTERN_CONFIG_EHLO_NAME_H

/* What we may call ourselves in EHLO: a domain name or an address literal (RFC 5321, 4.1.1.1 and
 * 4.1.3). */

#include "base/arena.h"

/*
 * A name as it is configured, as it goes out: an IP address in brackets, an internationalized
 * domain in A-labels. NULL: it is neither an address nor a domain. (Without memory too.)
 */
const char *config_ehlo_name(const char *name, struct arena *arena);

/* The name of this machine if the world may know it by that: a domain with a dot in it. NULL: no;
 * then a connection's own address is the name (RFC 5321, 2.3.5). */
const char *config_ehlo_name_of_machine(const char *machine, struct arena *arena);

#endif
