# syntax=docker/dockerfile:1

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.version=${VERSION}" -o /out/tidegate ./cmd/tidegate \
    && mkdir -p /out/data

FROM scratch
# The authorities of the system, for etcd endpoints with https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tidegate /tidegate
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data

# A container is reached from outside, so it listens on all of its addresses.
# guest may log in from inside the container only: give the first user with
# TIDEGATE_DEFAULT_USER and TIDEGATE_DEFAULT_PASS.
ENV TIDEGATE_DATA=/data \
    TIDEGATE_LISTEN_MQTT=0.0.0.0:1883 \
    TIDEGATE_LISTEN_MQTT_WS=0.0.0.0:8083 \
    TIDEGATE_LISTEN_AMQP=0.0.0.0:5672 \
    TIDEGATE_LISTEN_HTTP=0.0.0.0:15672 \
    TIDEGATE_LISTEN_MQTTS=0.0.0.0:8883 \
    TIDEGATE_LISTEN_MQTT_WSS=0.0.0.0:8084 \
    TIDEGATE_LISTEN_AMQPS=0.0.0.0:5671 \
    TIDEGATE_LISTEN_HTTPS=0.0.0.0:15671

USER 65532:65532
VOLUME /data
EXPOSE 1883 8083 5672 15672 8883 8084 5671 15671
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/tidegate", "health"]
ENTRYPOINT ["/tidegate"]
CMD ["serve"]
