#!/usr/bin/env bash
# Cold start from the compile cache, and the memory that idle plugins take.
#
#   tests/load/plugins.sh            1,000 plugins
#   PLUGINS=200 tests/load/plugins.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

count="${PLUGINS:-1000}"
work="$(mktemp -d)"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

cargo build --release --quiet
aimass="${CARGO_TARGET_DIR:-target}/release/aimass"
component="$("$aimass" build --json plugins/hello-http | python3 -c 'import json,sys; print(json.load(sys.stdin)["component"])')"

serve() {
    "$aimass" serve --data "$work/data" --listen 127.0.0.1:18090 >/dev/null 2>"$work/log" &
    server=$!
}
ready() {
    until curl -fs http://127.0.0.1:18090/readyz >/dev/null; do sleep 0.01; done
}
resident() { awk '/VmRSS/ { print $2 }' "/proc/$server/status"; }

serve
ready
export AIMASS_URL=http://127.0.0.1:18090 AIMASS_TOKEN_FILE="$work/data/operator.token"
"$aimass" tenants create acme >/dev/null
token="$("$aimass" tokens create --tenant acme)"
before="$(resident)"

# Every plugin gets bytes of its own: a custom section with its number, behind the component's end.
python3 - "$component" "$count" "$token" <<'PY'
import http.client, sys
component, count, token = open(sys.argv[1], "rb").read(), int(sys.argv[2]), sys.argv[3]
connection = http.client.HTTPConnection("127.0.0.1", 18090)
headers = {"Authorization": f"Bearer {token}"}
for n in range(count):
    section = bytes([1]) + b"n" + n.to_bytes(4, "little")
    connection.request("PUT", f"/api/v1/plugins/p{n}", component + bytes([0, len(section)]) + section, headers)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 201, body
    connection.request("GET", f"/fn/acme/p{n}/", headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
PY
after="$(resident)"
echo "memory of an idle plugin: $(((after - before) / count)) KiB ($count plugins, all called once: $before to $after KiB)"

# From the start of the process to the first answer of a plugin, compiled before.
for _ in 1 2 3 4 5; do
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    python3 - "$aimass" "$work/data" "$token" <<'PY'
import http.client, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen([sys.argv[1], "serve", "--json", "--data", sys.argv[2], "--listen", "127.0.0.1:0"],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
line = ""
while '"url"' not in line:
    line = process.stdout.readline()
address = line.split("//")[1].split('"')[0]
listening = time.perf_counter()
connection = http.client.HTTPConnection(address)
connection.request("GET", "/fn/acme/p0/", headers={"Authorization": f"Bearer {sys.argv[3]}"})
assert connection.getresponse().status == 200
answered = time.perf_counter()
print(f"cold start: listening after {(listening - started) * 1e3:.0f} ms, "
      f"first answer of a plugin {(answered - listening) * 1e3:.1f} ms later")
process.kill()
process.wait()
PY
    serve
    ready
done
