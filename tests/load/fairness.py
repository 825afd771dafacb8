#!/usr/bin/env python3
"""What a flood of one tenant does to another one, and what joining requests gains where it pays.

    python3 tests/load/fairness.py target/release/aimass magika.onnx minilm.onnx [--seconds 15] [--gain]

1. A caller of one tenant on magika: alone, then beside 20 and 2 callers of another tenant on magika, then beside 32 on
   MiniLM. The issue: its p99 at most doubles (beside one caller for every worker it must wait for one run).
2. With --gain: MiniLM with 5 callers, of whom too few wait to be joined, and with 32, of whom most do.

Needs wrk. magika's model is in the PyPI package magika 1.0.3; MiniLM's is written by tests/clients/minilm_onnx.py.
Starts a node of its own, on tract unless AIMASS_ONNXRUNTIME names a library.
"""
import argparse, json, os, pathlib, re, struct, subprocess, time

from node import node

parser = argparse.ArgumentParser()
parser.add_argument("aimass")
parser.add_argument("magika")
parser.add_argument("minilm")
parser.add_argument("--seconds", type=int, default=15)
parser.add_argument("--gain", action="store_true")
asked = parser.parse_args()

FORMS = {"INT32": "i", "INT64": "q", "FP32": "f"}


def body(signature, width):
    """A request for one row of every input, with binary tensors, as a script for wrk."""
    inputs, data = [], b""
    for port in signature["inputs"]:
        shape = [1] + [size if size > 0 else width for size in port["shape"][1:]]
        count = 1
        for size in shape:
            count *= size
        raw = struct.pack(f"<{count}{FORMS[port['datatype']]}", *(1 for _ in range(count)))
        inputs.append({"name": port["name"], "datatype": port["datatype"], "shape": shape,
                       "parameters": {"binary_data_size": len(raw)}})
        data += raw
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head, data


def script(folder, name, token, signature, width):
    head, data = body(signature, width)
    file = pathlib.Path(folder) / f"{name}.body"
    file.write_bytes(head + data)
    lua = pathlib.Path(folder) / f"{name}.lua"
    lua.write_text(f'local f = io.open("{file}", "rb"); wrk.body = f:read("*a"); f:close()\n'
                   f'wrk.method = "POST"; wrk.headers["Content-Type"] = "application/octet-stream"\n'
                   f'wrk.headers["Inference-Header-Content-Length"] = "{len(head)}"\n'
                   f'wrk.headers["Authorization"] = "Bearer {token}"\n')
    return str(lua)


def wrk(url, lua, callers, seconds):
    return subprocess.Popen(["wrk", "-t", "1", "-c", str(callers), "-d", f"{seconds}s", "--latency", "--timeout", "30s",
                             "-s", lua, url], stdout=subprocess.PIPE, text=True)


def figures(process):
    text, _ = process.communicate()
    assert "Non-2xx" not in text, text
    number = lambda value, unit: float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
    of = lambda share: number(*re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", text).groups())
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), of(50), of(99)


environment = {"AIMASS_ONNXRUNTIME": "off", **os.environ}
with node(asked.aimass, "--gpu", "off", environment=environment) as here:
    scripts, tokens = {}, {}
    for tenant in ["acme", "globex"]:
        token = tokens[tenant] = here.tenant(tenant, ["models:write", "models:read", "models:invoke"])
        for name, file, width in [("magika", asked.magika, 2048), ("minilm", asked.minilm, 32)]:
            document = here.api("PUT", f"/api/v1/models/{name}", pathlib.Path(file).read_bytes(), token, 201)
            scripts[tenant, name] = script(here.folder, f"{tenant}-{name}", token, document["signature"], width)

    def load(tenant, model, callers, seconds):
        return wrk(f"http://{here.address}/v2/models/{model}/infer", scripts[tenant, model], callers, seconds)

    def show(what, rate, p50, p99):
        print(f"{what:46} {rate:8.1f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms", flush=True)

    def sizes(tenant, model):
        stats = here.api("GET", f"/v2/models/{model}/stats", None, tokens[tenant], 200)["model_stats"][0]
        return {b["batch_size"]: b["compute_infer"]["count"] for b in stats["batch_stats"]}

    for tenant, model in scripts:
        figures(load(tenant, model, 2, 2))
    show("magika, 1 caller alone", *figures(load("globex", "magika", 1, asked.seconds)))
    for model, callers in [("magika", 2), ("magika", 20), ("minilm", 32)]:
        flood = load("acme", model, callers, asked.seconds + 4)
        time.sleep(2)
        show(f"magika, 1 caller beside {callers} on {model}", *figures(load("globex", "magika", 1, asked.seconds)))
        show(f"    those {callers}", *figures(flood))
        print(f"    batches of theirs: {sizes('acme', model)}")
    if asked.gain:
        # The other tenant is forgotten after a while.
        time.sleep(12)
        for callers in [5, 32, 5, 32]:
            show(f"minilm, {callers} callers", *figures(load("acme", "minilm", callers, asked.seconds)))
            print(f"    batches: {sizes('acme', 'minilm')}")
