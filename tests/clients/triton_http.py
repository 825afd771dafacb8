"""Triton's own HTTP client, unmodified: every type, the repository, statistics. Arguments: host:port, token."""

import sys

import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import values

address, token = sys.argv[1:]


def authorization():
    # `infer` writes into the headers that it is given, so each call gets its own.
    return {"Authorization": f"Bearer {token}"}


client = triton.InferenceServerClient(address)
assert {"model_repository", "statistics"} <= set(client.get_server_metadata()["extensions"])
config = client.get_model_config("echo", headers=authorization())
assert (config["platform"], config["max_batch_size"]) == ("wasm", 0) and len(config["input"]) == 14, config
assert {"name": "BYTES", "data_type": "TYPE_STRING", "dims": [-1, 2]} in config["output"], config

for binary in (True, False):
    arrays = values.arrays(binary)
    inputs, outputs = [], []
    for name, array in arrays.items():
        # FP16 and BF16 have no JSON form.
        raw = binary or name in ("FP16", "BF16")
        tensor = triton.InferInput(name, array.shape, name)
        tensor.set_data_from_numpy(array, binary_data=raw)
        inputs.append(tensor)
        outputs.append(triton.InferRequestedOutput(name, binary_data=raw))
    answer = client.infer("echo", inputs, outputs=outputs, headers=authorization())
    for name, array in arrays.items():
        assert values.same(answer.as_numpy(name), array), (name, binary, answer.as_numpy(name), array)

index = {entry["name"]: entry for entry in client.get_model_repository_index(headers=authorization())}
assert index["echo"] == {"name": "echo", "version": "1", "state": "READY", "reason": ""}, index
client.unload_model("echo", headers=authorization())
assert not client.is_model_ready("echo", headers=authorization())
index = {entry["name"]: entry for entry in client.get_model_repository_index(headers=authorization())}
assert (index["echo"]["state"], index["echo"]["reason"]) == ("UNAVAILABLE", "unloaded"), index
client.load_model("echo", headers=authorization())
assert client.is_model_ready("echo", headers=authorization())
for call in (client.load_model, client.unload_model, client.get_inference_statistics, client.get_model_config):
    try:
        call("nobody", headers=authorization())
        raise SystemExit(f"{call.__name__}: nobody was found")
    except InferenceServerException as refused:
        assert refused.status() == "404", refused

(stats,) = client.get_inference_statistics("echo", "1", headers=authorization())["model_stats"]
assert stats["inference_count"] == stats["execution_count"] >= 2, stats
assert stats["inference_stats"]["success"]["count"] == stats["inference_count"], stats
assert stats["inference_stats"]["compute_infer"]["ns"] > 0, stats
everybody = client.get_inference_statistics(headers=authorization())["model_stats"]
assert "echo" in {of["name"] for of in everybody}, everybody
print("done")
