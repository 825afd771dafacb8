#!/usr/bin/env bash
# Load on an HTTP function: AI Mass with the token check on, beside `wasmtime serve` with the same component.
#
# Three interleaved runs; prints requests per second and latencies of each run, then the medians.
# Needs: wrk (apt-get install wrk), and for the comparison wasmtime 48 (cargo install wasmtime-cli --version ^48).
#
#   tests/load/functions.sh                     builds everything, 5 s a measurement
#   SECONDS_EACH=15 CONNECTIONS="1 64" tests/load/functions.sh
#   AIMASS=target/release/aimass tests/load/functions.sh      a binary that is there already
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds="${SECONDS_EACH:-5}"
connections="${CONNECTIONS:-1 16 64}"
rounds="${ROUNDS:-3}"
wasmtime="${WASMTIME:-$(command -v wasmtime || true)}"
work="$(mktemp -d)"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

aimass="${AIMASS:-}"
if [ -z "$aimass" ]; then
    cargo build --profile dist --quiet
    aimass="${CARGO_TARGET_DIR:-target}/dist/aimass"
fi
component="$("$aimass" build --json plugins/hello-http | python3 -c 'import json,sys; print(json.load(sys.stdin)["component"])')"

# Waits until a port answers.
await() {
    for _ in $(seq 200); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.05
    done
    echo "nothing listens on port $1" >&2
    exit 1
}

"$aimass" serve --data "$work/data" --listen 127.0.0.1:18080 >/dev/null 2>"$work/aimass.log" &
await 18080
export AIMASS_URL=http://127.0.0.1:18080 AIMASS_TOKEN_FILE="$work/data/operator.token"
"$aimass" tenants create acme >/dev/null
token="$("$aimass" tokens create --tenant acme)"
AIMASS_TOKEN="$token" "$aimass" push "$component" --name hello >/dev/null

if [ -n "$wasmtime" ]; then
    "$wasmtime" serve --addr 127.0.0.1:18081 -S cli "$component" >/dev/null 2>&1 &
    "$wasmtime" serve --addr 127.0.0.1:18082 -S cli --max-instance-reuse-count 128 "$component" >/dev/null 2>&1 &
    await 18081
    await 18082
fi

# One measurement: name, URL, connections, headers. Prints: name connections requests/s p50 p99
measure() {
    local name="$1" url="$2" count="$3"
    shift 3
    local threads=2
    [ "$count" -lt 2 ] && threads=1
    wrk --threads "$threads" --connections "$count" --duration "${seconds}s" --latency "$@" "$url" |
        awk -v name="$name" -v count="$count" '
            /^ *50%/ { p50 = $2 } /^ *99%/ { p99 = $2 } /Requests\/sec/ { rps = $2 }
            /Non-2xx/ { bad = $NF } /Socket errors/ { bad = $0 }
            END { printf "%-22s %4d %10.0f %10s %10s %s\n", name, count, rps, p50, p99, bad ? "ERRORS " bad : "" }'
}

echo "$(nproc) cores, $(rustc --version), wrk on the same machine, ${seconds} s each"
printf '%-22s %4s %10s %10s %10s\n' SERVER CONN REQ/S P50 P99
for _ in $(seq "$rounds"); do
    for count in $connections; do
        measure aimass "http://127.0.0.1:18080/fn/acme/hello/" "$count" -H "Authorization: Bearer $token"
        measure aimass-healthz "http://127.0.0.1:18080/healthz" "$count"
        if [ -n "$wasmtime" ]; then
            measure wasmtime-serve http://127.0.0.1:18081/ "$count"
            measure wasmtime-serve-reuse http://127.0.0.1:18082/ "$count"
        fi
    done
done | tee "$work/runs"

echo
echo "medians of $rounds runs, requests per second"
sort -k1,1 -k2,2n -k3,3n "$work/runs" |
    awk '{ key = $1 " " $2; n[key]++; v[key, n[key]] = $3 }
         END { for (key in n) printf "%-22s %4d %10d\n", substr(key, 1, index(key, " ") - 1), substr(key, index(key, " ") + 1), v[key, int((n[key] + 1) / 2)] }' |
    sort -k2,2n -k3,3nr
