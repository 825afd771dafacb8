#!/usr/bin/env python3
"""Load on models: AI Mass beside MLServer and a bare onnxruntime loop, all on ONNX Runtime, one thread a run.

The same files, bodies and load for each, in interleaved rounds; prints every run, then the medians and the ratios that
count. Needs wrk (apt-get install wrk) and pip; builds the release binary unless --aimass names one.

    tests/load/inference.py                       3 rounds of 4 s a measurement
    tests/load/inference.py --rounds 1 --seconds 2 --only mlp
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "aimass"
PACKAGES = CACHE / "load-python"
AIMASS, ML_HTTP, ML_GRPC = 18080, 18090, 18091


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=4)
    arguments.add_argument("--only", help="one model: squeezenet, magika or mlp")
    arguments.add_argument("--aimass", help="the release binary [default: built]")
    options = arguments.parse_args()
    install()
    binary = options.aimass or build()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = {name: make(folder) for name, make in MODELS.items() if options.only in (None, name)}
        servers = []
        try:
            start_aimass(servers, binary, folder, models)
            start_mlserver(servers, folder, models)
            compare(folder, models, options)
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(30)


def install() -> None:
    """The packages, in a folder of their own."""
    if not (PACKAGES / "complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", PACKAGES]
        subprocess.run([*pip, "--requirement", HERE / "requirements.txt"], check=True)
        (PACKAGES / "complete").touch()
    sys.path.insert(0, str(PACKAGES))


def build() -> str:
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    return str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "aimass")


# Models. Each: its file, and its inputs by name.


def squeezenet(folder):
    """SqueezeNet of ONNX's node suite, whose weights are filled with one number: seeded random ones in their place."""
    import numpy
    import onnx

    path = PACKAGES / "onnx/backend/test/data/light/light_squeezenet.onnx"
    model = onnx.load(path)
    random = numpy.random.default_rng(1)
    shapes = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = shapes[node.input[0]]
            scale = (2 / max(1, numpy.prod(shape[1:]))) ** 0.5
            weights = (random.standard_normal(shape) * scale).astype("float32")
            model.graph.initializer.append(onnx.numpy_helper.from_array(weights, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    names = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in names]
    used = {name for node in kept for name in node.input}
    weights = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    # Since version 4 an initializer need not be an input as well.
    model.ir_version = max(model.ir_version, 4)
    onnx.save(model, folder / "squeezenet.onnx")
    data = random.standard_normal((1, 3, 224, 224)).astype("float32")
    return folder / "squeezenet.onnx", {inputs[0].name: data}


def magika(folder):
    import numpy

    path = next(PACKAGES.glob("magika/models/standard_v3_3/model.onnx"))
    text = (HERE / "inference.py").read_bytes()[:1024]
    beginning = numpy.full(2048, 256, dtype="int32")
    beginning[: len(text)] = list(text)
    beginning[1024 : 1024 + len(text)] = list(text)
    return path, {"bytes": beginning[None]}


def mlp(folder):
    """10 -> 16 -> 2: so small that the server is all that counts."""
    import numpy
    import onnx
    from onnx import helper, numpy_helper

    random = numpy.random.default_rng(2)
    array = lambda name, *shape: numpy_helper.from_array(random.standard_normal(shape).astype("float32"), name)
    value = lambda name, width: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, width])
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    weights = [array("w1", 10, 16), array("b1", 16), array("w2", 16, 2), array("b2", 2)]
    graph = helper.make_graph(nodes, "mlp", [value("x", 10)], [value("y", 2)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "mlp.onnx")
    return folder / "mlp.onnx", {"x": random.standard_normal((1, 10)).astype("float32")}


MODELS = {"squeezenet": squeezenet, "magika": magika, "mlp": mlp}


# Servers.


def start_aimass(servers, binary, folder, models):
    environment = {
        **os.environ,
        "AIMASS_DATA": str(folder / "aimass"),
        "AIMASS_URL": f"http://127.0.0.1:{AIMASS}",
        "AIMASS_TOKEN_FILE": str(folder / "aimass/operator.token"),
    }
    subprocess.run([binary, "engines", "install", "onnxruntime"], check=True, stdout=subprocess.DEVNULL)
    log = open(folder / "aimass.log", "wb")
    command = [binary, "serve", "--listen", f"127.0.0.1:{AIMASS}"]
    servers.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    await_answer(f"http://127.0.0.1:{AIMASS}/readyz")

    def run(*args, **more):
        command = [binary, *args]
        return subprocess.run(
            command, env={**environment, **more}, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    run("tenants", "create", "acme")
    global TOKEN
    TOKEN = run("tokens", "create", "--tenant", "acme")
    for name, (path, _) in models.items():
        run("models", "push", name, str(path), AIMASS_TOKEN=TOKEN)
        shown = run("models", "show", name, AIMASS_TOKEN=TOKEN)
        assert "onnxruntime" in shown.lower(), f"{name} does not run on ONNX Runtime:\n{shown}"


def start_mlserver(servers, folder, models):
    where = folder / "mlserver"
    where.mkdir()
    (where / "settings.json").write_text(
        json.dumps({"http_port": ML_HTTP, "grpc_port": ML_GRPC, "metrics_port": 18092, "parallel_workers": 0})
    )
    for name, (path, _) in models.items():
        (where / name).mkdir()
        settings = {"name": name, "implementation": "runtime.OnnxRuntime", "parameters": {"uri": str(path)}}
        (where / name / "model-settings.json").write_text(json.dumps(settings))
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGES}:{HERE / 'mlserver'}"}
    log = open(folder / "mlserver.log", "wb")
    command = [sys.executable, "-c", "from mlserver.cli import main; main()", "start", str(where)]
    servers.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    for name in models:
        await_answer(f"http://127.0.0.1:{ML_HTTP}/v2/models/{name}/ready", log=folder / "mlserver.log")


def await_answer(url, log=None) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer" + (f"\n{log.read_text()}" if log else ""))


# Load.


def bodies(folder, name, inputs):
    """A JSON and a binary request in files for wrk: (script for JSON, script for binary)."""
    import tritonclient.http as http

    given = [http.InferInput(key, array.shape, TYPES[array.dtype.name]) for key, array in inputs.items()]
    scripts = []
    for binary in (False, True):
        for item, array in zip(given, inputs.values()):
            item.set_data_from_numpy(array, binary_data=binary)
        wanted = None if not binary else []
        body, header = http.InferenceServerClient.generate_request_body(given, outputs=wanted)
        kind = "binary" if binary else "json"
        (folder / f"{name}.{kind}").write_bytes(body)
        headers = {"Content-Type": "application/octet-stream" if header else "application/json"}
        if header:
            headers["Inference-Header-Content-Length"] = str(header)
        lines = [f'local f = io.open("{folder / f"{name}.{kind}"}", "rb"); wrk.body = f:read("*a"); f:close()']
        lines += ['wrk.method = "POST"', f'wrk.headers["Authorization"] = "Bearer {TOKEN}"']
        lines += [f'wrk.headers["{key}"] = "{value}"' for key, value in headers.items()]
        script = folder / f"{name}.{kind}.lua"
        script.write_text("\n".join(lines) + "\n")
        scripts.append(script)
    return scripts


TYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}


def wrk(port, name, script, clients, seconds) -> float:
    threads = min(2, clients)
    url = f"http://127.0.0.1:{port}/v2/models/{name}/infer"
    command = ["wrk", "-t", str(threads), "-c", str(clients), "-d", f"{seconds}s", "--timeout", "30s", "-s", script, url]
    said = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"errors of {url}:\n{said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))


def grpc_load(port, name, inputs, clients, seconds, token=None) -> float:
    """Requests a second over gRPC with raw tensors, by the same Python client for both servers."""
    import tritonclient.grpc as grpc

    headers = {"authorization": f"Bearer {token}"} if token else None
    ends, counts = time.monotonic() + seconds, [0] * clients

    def client(index):
        connection = grpc.InferenceServerClient(f"127.0.0.1:{port}")
        given = []
        for key, array in inputs.items():
            item = grpc.InferInput(key, array.shape, TYPES[array.dtype.name])
            item.set_data_from_numpy(array)
            given.append(item)
        while time.monotonic() < ends:
            connection.infer(name, given, headers=headers)
            counts[index] += 1
        connection.close()

    began = time.monotonic()
    threads = [threading.Thread(target=client, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def bare(path, inputs, seconds) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    for _ in range(5):
        session.run(None, inputs)
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        session.run(None, inputs)
        count += 1
    return count / (time.monotonic() - began)


def compare(folder, models, options) -> None:
    runs = {}

    def measured(key, value):
        runs.setdefault(key, []).append(value)
        print(f"{' '.join(map(str, key)):44} {value:10.1f}/s", flush=True)

    scripts = {name: bodies(folder, name, inputs) for name, (_, inputs) in models.items()}
    print(f"{os.cpu_count()} cores, clients on the same machine, {options.seconds} s each")
    for _ in range(options.rounds):
        for name, (path, inputs) in models.items():
            text, binary = scripts[name]
            measured((name, "bare"), bare(path, inputs, options.seconds))
            for clients in (1, 8, 16) if name == "mlp" else (1, 8):
                measured((name, "aimass", "binary", clients), wrk(AIMASS, name, binary, clients, options.seconds))
                measured((name, "aimass", "json", clients), wrk(AIMASS, name, text, clients, options.seconds))
                measured((name, "mlserver", "json", clients), wrk(ML_HTTP, name, text, clients, options.seconds))
                given = (name, inputs, clients, options.seconds)
                measured((name, "aimass", "grpc", clients), grpc_load(AIMASS, *given, token=TOKEN))
                measured((name, "mlserver", "grpc", clients), grpc_load(ML_GRPC, *given))
    print("\nmedians")
    medians = {key: statistics.median(values) for key, values in runs.items()}
    for key, value in medians.items():
        name, server, *kind = key
        ratios = [f"{value / medians[name, 'bare']:.2f} of the bare loop"]
        if server == "aimass" and (name, "mlserver", *kind) in medians:
            ratios.append(f"{value / medians[(name, 'mlserver', *kind)]:.1f} of MLServer")
        print(f"{' '.join(map(str, key)):44} {value:10.1f}/s  {', '.join(ratios)}")


if __name__ == "__main__":
    main()
