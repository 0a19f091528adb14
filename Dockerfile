# The build runs on the builder's own platform and cross-compiles.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev

WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags grpcnotrace \
    -ldflags "-s -w -X github.com/imagepullsecrets/operator/internal/version.version=$VERSION" \
    -o /out/imagepullsecret-operator .

FROM gcr.io/distroless/static:nonroot
COPY --from=build /out/imagepullsecret-operator /imagepullsecret-operator
# A number, so that the kubelet can check runAsNonRoot. Any other user works
# too: nothing is written to the image's file system.
USER 65532:65532
ENTRYPOINT ["/imagepullsecret-operator"]
CMD ["manager"]
