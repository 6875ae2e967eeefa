/*
 * Criterion brings libgit2, and libgit2 reads the system's 140 CA certificates as it starts: in
 * each process of each test, a tenth of what the whole run costs. No test asks libgit2 for the
 * network, so its TLS library (Mbed TLS, which nothing of ours uses) finds no certificate here.
 */

struct mbedtls_x509_crt;
int mbedtls_x509_crt_parse_file(struct mbedtls_x509_crt *chain, const char *path);
int mbedtls_x509_crt_parse_path(struct mbedtls_x509_crt *chain, const char *path);

int mbedtls_x509_crt_parse_file(struct mbedtls_x509_crt *chain, const char *path)
{
    return 0;
}

int mbedtls_x509_crt_parse_path(struct mbedtls_x509_crt *chain, const char *path)
{
    return 0;
}
