# The binary alone on a slim Debian: no JVM, no shell scripts needed to start.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends protobuf-compiler clang libclang-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin ottla

FROM debian:bookworm-slim
RUN useradd --system --uid 1000 --home /var/lib/ottla --create-home ottla
COPY --from=build /src/target/release/ottla /usr/local/bin/ottla
USER ottla
WORKDIR /var/lib/ottla
VOLUME /var/lib/ottla
EXPOSE 9092
# KAFKA_* variables configure it, as they do Kafka's image; a mounted server.properties may be given as argument.
ENTRYPOINT ["ottla"]
