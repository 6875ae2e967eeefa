# The gateway and its libraries, nothing else: no shell, no package manager, an unprivileged user.
# It runs on a read-only root; /var/lib/postern, where the queue is, is the one place it writes to.

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile openapi.yaml ./
COPY tests/support/install.sh tests/support/
RUN make deps-build && rm -rf /var/lib/apt/lists/*
COPY service service
COPY api api
COPY cli cli
RUN make -j"$(nproc)" FLAVOUR=release all

# The binary, what it loads (for NTLM also by itself: the mechanism, and MD4 and UTF-16 for it), the
# certificate authorities where OpenSSL looks for them, and its user.
RUN apt-get update && apt-get install -y --no-install-recommends gss-ntlmssp \
    && rm -rf /var/lib/apt/lists/*
RUN set -eu; root=/rootfs; bin=build/release/postern; \
    plugins=$(ls /usr/lib/*/gssntlmssp/gssntlmssp.so /usr/lib/*/ossl-modules/legacy.so \
        /usr/lib/*/gconv/UTF-16.so); \
    install -D -m 0755 -s "$bin" "$root/usr/bin/postern"; \
    for file in $plugins /etc/gss/mech.d/mech.ntlmssp.conf /usr/lib/*/gconv/gconv-modules.cache; do \
        install -D -m 0644 "$file" "$root$file"; done; \
    ldd "$bin" $plugins | awk '$2 == "=>" && $3 ~ /^\// {print $3; next} $1 ~ /^\/.*[^:]$/ {print $1}' | sort -u | \
    while read -r library; do install -D -m 0755 "$library" "$root$library"; done; \
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"; \
    mkdir -p "$root/usr/lib/ssl"; \
    ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"; \
    echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$root/etc/passwd"; \
    echo 'nonroot:x:65532:' >"$root/etc/group"; \
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"; \
    install -d -m 1777 "$root/tmp"; \
    install -d -m 0700 /state

FROM scratch
COPY --from=build /rootfs/ /
COPY --from=build --chown=65532:65532 /state /var/lib/postern
USER 65532:65532
VOLUME /var/lib/postern
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/postern"]
CMD ["serve"]
