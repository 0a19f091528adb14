# The build runs on the builder's own platform and cross-compiles.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=
ARG DATE=

WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN stamp=github.com/imagepullsecrets/operator/internal/version && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -tags grpcnotrace \
    -ldflags "-s -w -X $stamp.version=$VERSION -X $stamp.commit=$COMMIT -X $stamp.date=$DATE" \
    -o /out/imagepullsecret-operator .

FROM gcr.io/distroless/static:nonroot
COPY --from=build /out/imagepullsecret-operator /imagepullsecret-operator
# A number, so that the kubelet can check runAsNonRoot. Any other user works
# too: nothing is written to the image's file system.
USER 65532:65532
ENTRYPOINT ["/imagepullsecret-operator"]
CMD ["manager"]
