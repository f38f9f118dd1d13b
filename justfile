# `just` lists these; each is one line that you can also type yourself.

set shell := ["bash", "-euo", "pipefail", "-c"]

# What there is
default:
    @just --list

# Build the service
build:
    cargo build --locked

# Run the service against the built-in sandbox
run *ARGS:
    cargo run --locked -- serve --sandbox {{ARGS}}

# Test by the README's own command
test:
    bash -euo pipefail -c "$(.ci/readme test)"

# Format
fmt:
    cargo fmt

# Lint the code, the contract and the dependencies
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    PATH=$(.ci/tools buf cargo-deny):$PATH; buf lint proto && buf breaking proto --against proto/released.binpb && cargo deny check bans licenses sources

# All that CI checks
ci:
    .ci/run

# Run the Python, Node and Go programs against a sandbox (or some of them: just clients go)
clients *LANGUAGES:
    .ci/clients {{LANGUAGES}}

# Call a sandbox by gRPC-Web from a page in a real Chromium
web:
    .ci/web

# Export to a real OpenTelemetry collector, and check what it got
otel:
    .ci/otel

# Check the Helm chart and its alert rules (or some of it: just chart rules)
chart *PARTS:
    .ci/helm {{PARTS}}

# Build the image and start it as restricted as its pod is (podman or docker)
image *TAG:
    .ci/image {{TAG}}

# Write the program's bill of materials (CycloneDX)
sbom *OUT:
    .ci/sbom {{OUT}}

# Make the README's first call as it is written there
first-call:
    PATH=$(.ci/tools grpcurl):$PATH .ci/readme first-call

# What RELIABILITY.md asks for before a release: about half an hour
prove:
    SEEDS=10000 cargo test --locked --test simulation -- --nocapture
    SEEDS=2000 cargo test --locked --test faults
    KILLS=200 cargo test --locked --test kill -- --nocapture
    .ci/mutants

# Measure the service beside its peers (ARGS: --rounds 1 --only ours,naive ...)
bench *ARGS:
    cargo build --release --locked
    benches/compare/setup.sh
    benches/compare/run.py --ours 'target/release/blubash-grpc serve --listen 127.0.0.1:9110 --upstream-url http://127.0.0.1:9090/api/v1/campaigns --ledger memory:' {{ARGS}}

# Measure an import of a million items with the ledger in a file (ARGS: --n 100000 --rounds 1 ...)
bench-stream *ARGS:
    cargo build --release --locked
    benches/compare/setup.sh
    benches/compare/stream.py --reopen --ours 'target/release/blubash-grpc serve --listen 127.0.0.1:9110 --upstream-url http://127.0.0.1:9090/api/v1/campaigns --ledger file:{dir}/ledger' {{ARGS}}

# Measure what many watchers of one campaign cost (ARGS: --watchers 1,100,10000 --messages 100 ...)
fanout *ARGS:
    cargo build --release --locked
    cargo run --release --locked --manifest-path benches/drivers/Cargo.toml --target-dir target --bin fanout -- --ours 'target/release/blubash-grpc serve --ledger memory:' {{ARGS}}

# Load the service past what it can answer, and see what becomes of it (ARGS: --seconds 60 ...)
overload *ARGS:
    cargo build --release --locked
    cargo build --release --locked --manifest-path benches/drivers/Cargo.toml --target-dir target
    taskset -c 1 target/release/load overload --ours 'taskset -c 0 target/release/blubash-grpc serve --ledger memory:' {{ARGS}}

# Let one workspace ask a hundred times as much as each of the others (ARGS: --seconds 10 ...)
noisy *ARGS:
    cargo build --release --locked
    cargo run --release --locked --manifest-path benches/drivers/Cargo.toml --target-dir target --bin load -- noisy --ours 'target/release/blubash-grpc serve --ledger memory: --workspace-rate 500' {{ARGS}}

# SIGTERM under load, fifty times (ARGS: --times 5 ...)
drains *ARGS:
    cargo build --release --locked
    cargo run --release --locked --manifest-path benches/drivers/Cargo.toml --target-dir target --bin load -- drain --ours 'target/release/blubash-grpc serve' {{ARGS}}

# Take the contract as released: later changes are held against it (CONTRIBUTING.md)
release-contract:
    PATH=$(.ci/tools buf):$PATH; buf lint proto && buf breaking proto --against proto/released.binpb && buf build proto --exclude-source-info -o proto/released.binpb
