# The image of `make image`, for those who build with docker or podman; a test
# compares what the two say. The build runs on the builder's own platform and
# cross-compiles.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT
ARG DATE

WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -tags grpcnotrace \
    -ldflags "-s -w -X github.com/imagepullsecrets/operator/internal/version.version=$VERSION -X github.com/imagepullsecrets/operator/internal/version.commit=$COMMIT -X github.com/imagepullsecrets/operator/internal/version.date=$DATE" \
    -o /out/imagepullsecret-operator .
RUN cd tools/image && go run ./roots/print >/out/ca-certificates.crt

FROM scratch
ARG VERSION=dev
ARG COMMIT
ARG DATE
LABEL org.opencontainers.image.title="imagepullsecret-operator"
LABEL org.opencontainers.image.description="Keeps registry logins as image pull Secrets in every selected namespace."
LABEL org.opencontainers.image.source="https://github.com/imagepullsecrets/operator"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="$VERSION"
LABEL org.opencontainers.image.revision="$COMMIT"
LABEL org.opencontainers.image.created="$DATE"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/imagepullsecret-operator /imagepullsecret-operator
# A number, so that the kubelet can check runAsNonRoot. Any other user works
# too: nothing is written to the image's file system.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/imagepullsecret-operator"]
CMD ["manager"]
