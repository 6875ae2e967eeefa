#ifndef POSTERN_SMTP_CERTIFICATE_H
#define POSTERN_SMTP_CERTIFICATE_H

/* What stands in a certificate, for a person to read, and the pin of its key. */

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

enum { CERTIFICATE_PIN_SIZE = 64 };

/* The certificate the server showed. */
struct transport_certificate {
    char names[256];                   /* of subjectAltName, joined by ", " */
    char issuer[256];                  /* one line */
    char pin[CERTIFICATE_PIN_SIZE];    /* "sha256/BASE64" */
    int64_t not_before_s, not_after_s; /* since 1970 */
};

void certificate_describe(const X509 *certificate, struct transport_certificate *described_out);
/* One line: "CN = Lab Intermediate". */
void certificate_subject(const X509 *certificate, char *subject_out, size_t size);
void certificate_issuer(const X509 *certificate, char *issuer_out, size_t size);
/* Of the SubjectPublicKeyInfo (RFC 7469, 2.4), so that it outlives the certificate. "": no memory.
 */
void certificate_pin(const X509 *certificate, char pin_out[CERTIFICATE_PIN_SIZE]);

#endif
