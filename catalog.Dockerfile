# The catalog's image, of what `make catalog` wrote into dist/catalog.
FROM quay.io/operator-framework/opm:v1.65.0

COPY dist/catalog /configs
RUN ["/bin/opm", "serve", "/configs", "--cache-dir=/tmp/cache", "--cache-only"]

ENTRYPOINT ["/bin/opm"]
CMD ["serve", "/configs", "--cache-dir=/tmp/cache"]

LABEL operators.operatorframework.io.index.configs.v1=/configs
