#!/usr/bin/env bash
# Fuzzes what reads strangers' bytes: tensors, tokens, the journal, ONNX files, components. Needs cargo-fuzz
# (cargo install cargo-fuzz); a stable compiler will do, since no sanitizer is used: the code is safe Rust, and what is
# looked for are panics, overflows, hangs and answers that do not hold together.
#
#   tests/fuzz/run.sh                       five minutes each
#   SECONDS_EACH=60 tests/fuzz/run.sh token journal
set -euo pipefail
cd "$(dirname "$0")"

seconds="${SECONDS_EACH:-300}"
targets="${*:-tensors token journal lowering component}"

# Beginnings that are right, so that the mutations reach what is behind the first check.
python3 - <<'PY'
import base64, json, pathlib, struct

corpus = pathlib.Path("corpus")


def seed(target, name, data):
    (corpus / target).mkdir(parents=True, exist_ok=True)
    (corpus / target / name).write_bytes(data)


def request(tensor, binary=b"", **more):
    body = json.dumps({"id": "1", "inputs": [tensor], **more}).encode()
    return struct.pack("<H", len(body) if binary else 0) + body + binary


data = {"UINT8": [1, 2], "FP32": [0.1, 1.5e-3], "BOOL": [True, False], "BYTES": ["a", "\u00e9\n"], "INT64": [[1], [-2]]}
for kind, values in data.items():
    tensor = {"name": "x", "datatype": kind, "shape": [2], "data": values}
    seed("tensors", kind, request(tensor, outputs=[{"name": "x", "parameters": {"binary_data": False}}]))
tensor = {"name": "x", "datatype": "FP32", "shape": [400], "data": [i / 7 for i in range(400)]}
seed("tensors", "long", request(tensor))
tensor = {"name": "x", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}}
seed("tensors", "binary", request(tensor, b"\1\0\2\0", parameters={"binary_data_output": True}))

part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
claims = {"iss": "https://node.example", "aud": "aimass", "sub": "a", "exp": 4e9, "nbf": 0, "iat": 0, "jti": "1"}
for algorithm in ("EdDSA", "none", "HS256", "RS256"):
    header = {"alg": algorithm, "typ": "JWT", "kid": "1"}
    seed("token", algorithm, b".".join([part(header), part(claims), base64.urlsafe_b64encode(b"s" * 64).rstrip(b"=")]))
PY

# A journal and a component of a node of our own; small ONNX files of the node suite where it is at hand.
aimass="${AIMASS:-../../target/release/aimass}"
if [ -x "$aimass" ]; then
    folder="$(mktemp -d)"
    "$aimass" serve --data "$folder" --listen 127.0.0.1:18099 >/dev/null 2>&1 &
    server=$!
    trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
    export AIMASS_URL=http://127.0.0.1:18099 AIMASS_TOKEN_FILE="$folder/operator.token"
    for _ in $(seq 100); do [ -e "$AIMASS_TOKEN_FILE" ] && "$aimass" tenants list >/dev/null 2>&1 && break; sleep 0.1; done
    "$aimass" tenants create acme >/dev/null
    "$aimass" tokens create --tenant acme >/dev/null
    mkdir -p corpus/journal corpus/component
    cp "$folder"/journal/*.log corpus/journal/
    cp "${COMPONENT:-/dev/null}" corpus/component/hello
fi
mkdir -p corpus/lowering corpus/component
if [ -n "${ONNX_NODES:-}" ]; then
    find "$ONNX_NODES" -name model.onnx -size -2k | while read -r file; do
        cp "$file" "corpus/lowering/$(basename "$(dirname "$file")")"
    done
fi
printf '\0asm\x0d\0\x01\0' >corpus/component/empty

for target in $targets; do
    echo "== $target, $seconds s"
    # A journal's file and an ONNX file may be long; the others find more in short inputs.
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" -- \
        -max_total_time="$seconds" -timeout=30 -rss_limit_mb=4096 -max_len=16384 -print_final_stats=1
done
