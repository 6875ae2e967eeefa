#ifndef POSTERN_TESTS_FAKE_DNS_H
#define POSTERN_TESTS_FAKE_DNS_H

/*
 * This program's getaddrinfo(): what it is told to know of names that end in ".test"; all else goes
 * to the C library. Names that end in "hang.test" get no answer before fake_dns_let_go(), those in
 * "fail.test" do not exist, any other without addresses of its own is 127.0.0.1.
 */

void fake_dns_set(const char *host,
                  const char *addresses); /* "127.0.0.1 ::1"; borrowed; one host */
void fake_dns_let_go(void);
void fake_dns_wait_until_asked(int n); /* so many lookups of such names, ever */
int fake_dns_asked(void);

#endif
