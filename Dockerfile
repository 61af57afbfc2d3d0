# One image for every role: `docker run … serve --role gateway`. No database inside: DATABASE_URL says where it is.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Neither the embedded PostgreSQL (an optional dependency) nor ONNX Runtime for other platforms nor its GPU files
RUN ONNXRUNTIME_NODE_INSTALL=skip npm install --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error \
 && runtimes=node_modules/onnxruntime-node/bin/napi-v6 \
 && wanted="linux/$(node -p process.arch)" \
 && mv "$runtimes/$wanted" /tmp/onnxruntime && rm -rf "$runtimes" && mkdir -p "$runtimes/linux" \
 && mv /tmp/onnxruntime "$runtimes/$wanted" \
 && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.md' \) -delete \
 && find node_modules/effect node_modules/@effect -type d \( -name src -o -name ai-docs \) -prune -exec rm -rf {} +

FROM ${NODE_IMAGE}
# Every role listens on PORT here, so that one health check fits all
ENV NODE_ENV=production LOG_FORMAT=json MAAS_HOST=0.0.0.0 MAAS_DATA_DIR=/data PORT=8000 MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY src src
# Owned by the user that runs it, so that a volume mounted here is writable; everything else may be read-only
RUN mkdir /data && chown 1000:1000 /data
VOLUME /data
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=8", "--heap-growing-percent=20", "src/main.ts"]
CMD ["serve"]
