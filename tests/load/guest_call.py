#!/usr/bin/env python3
"""What a plugin's `wasi:nn` call costs beside the raw model's: squeezenet, binary tensors, one client.

    python3 tests/load/guest_call.py target/release/aimass light_squeezenet.onnx [--calls 200] [--threads 1]

The model is `onnx/backend/test/data/light/light_squeezenet.onnx` of the PyPI package onnx 1.22.0. The plugin is
tests/guests/tensors, which hands its input to the model and gives back the answer. Calls alternate, so both see the
same machine; medians are compared. For each, the model's own time as the server counted it is told as well. Starts a
node of its own; AIMASS_TOOLCHAIN and AIMASS_ONNXRUNTIME count as for the command line.
"""
import argparse, http.client, json, pathlib, statistics, struct, subprocess, time

from node import node

parser = argparse.ArgumentParser()
parser.add_argument("aimass")
parser.add_argument("model")
parser.add_argument("--calls", type=int, default=200)
parser.add_argument("--threads", type=int, default=1)
asked = parser.parse_args()
root = pathlib.Path(__file__).resolve().parents[2]
binary = str(pathlib.Path(asked.aimass).resolve())

built = subprocess.run([binary, "build", "--json", str(root / "tests/guests/tensors")], check=True, capture_output=True)
component = pathlib.Path(json.loads(built.stdout)["component"]).read_bytes()


def infer(connection, token, name, port, output, body):
    head = json.dumps({
        "inputs": [{"name": port, "datatype": "FP32", "shape": [1, 3, 224, 224],
                    "parameters": {"binary_data_size": len(body)}}],
        "outputs": [{"name": output, "parameters": {"binary_data": True}}],
    }).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream",
               "Inference-Header-Content-Length": str(len(head))}
    whole = head + body
    began = time.perf_counter()
    connection.request("POST", f"/v2/models/{name}/infer", whole, headers)
    answer = connection.getresponse()
    data = answer.read()
    took = time.perf_counter() - began
    assert answer.status == 200, data[:500]
    return took, data[int(answer.headers["Inference-Header-Content-Length"]):]


with node(binary, "--gpu", "off", "--inference-threads", str(asked.threads)) as here:
    connection = http.client.HTTPConnection(here.address)
    token = here.tenant("acme", ["plugins:write", "plugins:invoke", "models:write", "models:invoke"])
    model = here.api("PUT", "/api/v1/models/squeezenet", pathlib.Path(asked.model).read_bytes(), token, 201)
    port, output = (model["signature"][side][0]["name"] for side in ("inputs", "outputs"))
    here.api("PUT", "/api/v1/plugins/tensors", component, token, 201)
    settings = json.dumps({"model": "squeezenet", "input": port, "output": output})
    here.api("PUT", "/api/v1/plugins/tensors/config", settings, token, 200)

    body = struct.pack("<150528f", *(((i * 37) % 255) / 255 for i in range(150528)))
    ways = {"raw model": ("squeezenet", port, output), "plugin": ("tensors", "x", "y")}
    times = {way: [] for way in ways}
    answers = {}
    for turn in range(asked.calls + 10):
        for way, names in ways.items():
            took, answers[way] = infer(connection, token, *names, body)
            if turn >= 10:
                times[way].append(took * 1e3)
    assert answers["raw model"] == answers["plugin"], "the answers differ"
    for way, took in times.items():
        took.sort()
        print(f"{way:10} median {statistics.median(took):7.2f} ms  p10 {took[len(took) // 10]:7.2f}  "
              f"p90 {took[len(took) * 9 // 10]:7.2f}  ({len(took)} calls)")
    raw, plugin = (statistics.median(times[way]) for way in ways)
    print(f"plugin over raw model: {100 * (plugin / raw - 1):+.1f} %, {plugin - raw:+.2f} ms")
    stats = here.api("GET", "/v2/models/squeezenet/stats", None, token, 200)["model_stats"][0]
    compute = stats["inference_stats"]["compute_infer"]
    print(f"the model itself: {compute['ns'] / compute['count'] / 1e6:.2f} ms a run, counted for raw calls")
