#!/usr/bin/env python3
"""Hours of hostile and honest clients at once: does the server stay as it was, and does the honest tenant notice?

Half of the clients are an honest tenant's (an HTTP function, a model, a counter in key-value data), half a hostile
one's (loops, memory and stack bombs, panics, floods of headers and logs, endless answers, clients that leave, broken
uploads, forged tokens). First the honest ones run alone, for comparison. Every ten seconds the server's and its
engines' resident memory, descriptors and threads are noted; the end compares the run's last quarter with its second.

    tests/load/soak.py                        an hour, 16 clients
    tests/load/soak.py --minutes 10 --alone 60

Needs the release binary (cargo build --release) and builds the guests with it.
"""

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PORT = 18085


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=60)
    arguments.add_argument("--alone", type=float, default=120, help="seconds that the honest clients run alone")
    arguments.add_argument("--clients", type=int, default=16)
    arguments.add_argument("--pause", type=float, default=0.02, help="seconds between an honest client's calls")
    arguments.add_argument("--attacks", default=",".join(ATTACKS), help="which ones, to find out what one of them costs")
    arguments.add_argument("--aimass", default=str(ROOT / "target/release/aimass"))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return Soak(pathlib.Path(folder), options).run()


class Soak:
    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        self.stop = threading.Event()
        self.phase = "alone"
        self.honest = {"alone": [], "attacked": []}
        self.wrong = []
        self.attacks = {}
        self.samples = []

    def run(self) -> int:
        aimass, data = self.options.aimass, self.folder / "data"
        environment = {
            **os.environ,
            "AIMASS_URL": f"http://127.0.0.1:{PORT}",
            "AIMASS_TOKEN_FILE": str(data / "operator.token"),
        }

        def cli(*command, **more):
            done = subprocess.run(
                [aimass, *command], env={**environment, **more}, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
            )
            return done.stdout.strip()

        built = lambda source: json.loads(cli("build", "--json", source))["component"]
        hello, counter, probe = built("plugins/hello-http"), built("plugins/counter"), built("tests/guests/probe")
        log = open(self.folder / "log", "wb")
        limits = ["--call-seconds", "2", "--call-memory-mib", "64"]
        command = [aimass, "serve", "--data", str(data), "--listen", f"127.0.0.1:{PORT}", *limits]
        self.server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            await_ready()
            self.tokens = {}
            for tenant in ("honest", "hostile"):
                cli("tenants", "create", tenant)
                self.tokens[tenant] = cli("tokens", "create", "--tenant", tenant)
            honest = {"AIMASS_TOKEN": self.tokens["honest"]}
            cli("push", hello, "--name", "hello", **honest)
            cli("push", counter, "--name", "counter", **honest)
            (self.folder / "add.onnx").write_bytes(ADD_ONE)
            cli("models", "push", "add", str(self.folder / "add.onnx"), **honest)
            cli("push", probe, "--name", "probe", AIMASS_TOKEN=self.tokens["hostile"])
            self.load()
        finally:
            self.server.terminate()
            ended = self.server.wait(60)
        return self.report(ended)

    def load(self) -> None:
        half = self.options.clients // 2
        good = [threading.Thread(target=self.honest_client, args=(i,)) for i in range(half)]
        # In a process of their own: an honest client shall wait for the server, and not for the interpreter's lock.
        over, told = multiprocessing.Event(), multiprocessing.Queue()
        headers = {"Authorization": f"Bearer {self.tokens['hostile']}"}
        bad = multiprocessing.Process(target=hostile_clients, args=(self.options, headers, over, told))
        for thread in good:
            thread.start()
        time.sleep(self.options.alone)
        self.phase = "attacked"
        bad.start()
        ends = time.monotonic() + self.options.minutes * 60
        noted = 0
        while time.monotonic() < ends and self.server.poll() is None:
            time.sleep(1)
            noted += 1
            if noted % 10 == 0:
                self.samples.append(figures(self.server.pid))
            if noted % 60 == 0:
                print(f"{noted // 60} min: {self.samples[-1]}, {len(self.wrong)} wrong answers", flush=True)
        self.stop.set()
        over.set()
        self.attacks = told.get(timeout=120)
        bad.join()
        for thread in good:
            thread.join()

    def honest_client(self, index) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        headers = {"Authorization": f"Bearer {self.tokens['honest']}"}
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [index]}]})
        calls = [
            ("GET", "/fn/honest/hello/", None),
            ("POST", "/v2/models/add/infer", body),
            ("POST", f"/fn/honest/counter/{index}", None),
        ]
        turn = 0
        while not self.stop.is_set():
            method, path, sent = calls[turn % 3]
            turn += 1
            began = time.monotonic()
            try:
                connection.request(method, path, sent, headers)
                answer = connection.getresponse()
                text = answer.read()
                right = answer.status == 200
                if path.endswith("infer"):
                    right = right and json.loads(text)["outputs"][0]["data"] == [index + 1]
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                right, text = False, repr(error).encode()
                connection.close()
            took = time.monotonic() - began
            self.honest[self.phase].append((path.rstrip("0123456789"), took))
            if not right:
                self.wrong.append((path, text[:200]))
            time.sleep(self.options.pause)

    def report(self, ended) -> int:
        print("\nattacks and their answers")
        for (name, status), count in sorted(self.attacks.items(), key=str):
            print(f"  {name:12} {status!s:>24} {count:8}")
        print("the honest tenant: calls, median, p99 in ms")
        for path in sorted({path for path, _ in self.honest["alone"]}):
            for phase, calls in self.honest.items():
                times = sorted(took * 1000 for called, took in calls if called == path)
                if times:
                    p99 = times[int(len(times) * 0.99)]
                    print(f"  {path:26} {phase:9} {len(times):8} {statistics.median(times):8.2f} {p99:8.2f}")
        print(f"wrong or failed answers: {len(self.wrong)}", *self.wrong[:5], sep="\n  ")
        flat = True
        quarter = max(1, len(self.samples) // 4)
        for key in self.samples[0] if self.samples else ():
            early = statistics.median(sample[key] for sample in self.samples[quarter : 2 * quarter] or self.samples)
            late = statistics.median(sample[key] for sample in self.samples[-quarter:])
            flat &= late <= early * 1.1 + 4
            print(f"  {key:24} second quarter {early:8.0f}, last quarter {late:8.0f}")
        print(f"the server ended with {ended}")
        return 0 if ended == 0 and not self.wrong and flat else 1


def await_ready() -> None:
    for _ in range(200):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("the server does not get ready")


def figures(pid) -> dict:
    """Resident memory (MiB), descriptors and threads of the server, and memory of its children."""
    found = {}
    for name, process in [("server", pid)] + [("engine", child) for child in children(pid)]:
        try:
            status = pathlib.Path(f"/proc/{process}/status").read_text()
            value = lambda field: int(status.split(f"{field}:")[1].split()[0])
            found[f"{name} MiB"] = found.get(f"{name} MiB", 0) + value("VmRSS") // 1024
            if name == "server":
                found["server descriptors"] = len(os.listdir(f"/proc/{process}/fd"))
                found["server threads"] = value("Threads")
        except (OSError, IndexError):
            pass
    return found


def children(pid):
    try:
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def hostile_clients(options, headers, over, told) -> None:
    """Attacks from as many threads until it is over, and tells how often which attack got which answer."""
    attacks, lock = {}, threading.Lock()
    chosen = options.attacks.split(",")

    def client(index):
        choose = random.Random(index)
        while not over.is_set():
            name = choose.choice(chosen)
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
            try:
                status = ATTACKS[name](connection, headers, choose)
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            connection.close()
            with lock:
                attacks[name, status] = attacks.get((name, status), 0) + 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(options.clients - options.clients // 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(attacks)


# Attacks: each sends one, and returns the status.


def get(path):
    def attack(connection, headers, _):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return attack


def leave(connection, headers, _):
    """Asks for an endless answer, reads a little and goes."""
    connection.request("GET", "/fn/hostile/probe/endless", headers=headers)
    answer = connection.getresponse()
    answer.read(1000)
    return answer.status


def spoilt_upload(connection, headers, choose):
    body = b"\0asm\x0d\0\x01\0" + choose.randbytes(choose.randrange(4096))
    connection.request("PUT", "/api/v1/plugins/spoilt", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def spoilt_model(connection, headers, choose):
    connection.request("PUT", "/api/v1/models/spoilt", ADD_ONE[: choose.randrange(len(ADD_ONE))], headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def forged_token(connection, headers, _):
    head, claims, signature = headers["Authorization"].removeprefix("Bearer ").split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    connection.request("GET", "/api/v1/plugins", headers={"Authorization": f"Bearer {none}.{claims}.{signature}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def malformed(connection, headers, choose):
    connection.putrequest("POST", "/v2/models/none/infer")
    for i in range(choose.randrange(120)):
        connection.putheader(f"x-{i}", "y" * choose.randrange(200))
    connection.putheader("Content-Length", "10")
    connection.endheaders()
    connection.send(b"half")
    return "left"


ATTACKS = {
    "loop": get("/fn/hostile/probe/loop"),
    "memory": get("/fn/hostile/probe/memory"),
    "stack": get("/fn/hostile/probe/stack"),
    "panic": get("/fn/hostile/probe/panic"),
    "silent": get("/fn/hostile/probe/silent"),
    "sleep": get("/fn/hostile/probe/sleep"),
    "headers": get("/fn/hostile/probe/headers"),
    "shout": get("/fn/hostile/probe/shout"),
    "residue": get("/fn/hostile/probe/residue"),
    "outgoing": get("/fn/hostile/probe/outgoing"),
    "other": get("/fn/honest/hello/"),
    "leave": leave,
    "upload": spoilt_upload,
    "model": spoilt_model,
    "token": forged_token,
    "malformed": malformed,
}

def onnx_add_one() -> bytes:
    """y = x + 1 for one FP32, written by hand so that no package is needed. Fields are numbered as in onnx.proto3 (ModelProto 1, 7, 8; GraphProto 1, 2, 5, 11, 12)."""

    def field(number, content):
        if isinstance(content, int):
            return bytes([number << 3, content])
        return bytes([number << 3 | 2, len(content)]) + content

    shape = field(2, field(1, field(1, 1)))
    value = lambda name: field(1, name) + field(2, field(1, field(1, 1) + shape))
    node = field(1, b"x") + field(1, b"one") + field(2, b"y") + field(4, b"Add")
    one = field(1, 1) + field(2, 1) + field(8, b"one") + field(9, b"\0\0\x80\x3f")
    graph = field(1, node) + field(2, b"g") + field(5, one) + field(11, value(b"x")) + field(12, value(b"y"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


ADD_ONE = onnx_add_one()


if __name__ == "__main__":
    sys.exit(main())
