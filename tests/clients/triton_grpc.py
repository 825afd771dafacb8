"""Triton's own gRPC client, unmodified, against the plugin `echo` and a model `identity-…` for each type.

Arguments: host:port, token.
"""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

import values

address, token = sys.argv[1:]
authorization = {"authorization": f"Bearer {token}"}
client = triton.InferenceServerClient(address)


def refused(status, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        assert error.status() == f"StatusCode.{status}", error
        return error.message()
    raise SystemExit(f"{call.__name__}{arguments} was not refused")


def tensors(arrays, datatype=None):
    """Inputs of one type, or each of the type that it is named after."""
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, datatype or name)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


# Health and metadata.
assert client.is_server_live() and client.is_server_ready()
server = client.get_server_metadata()
assert server.name == "aimass" and {"binary_tensor_data", "model_repository", "statistics"} <= set(server.extensions)
assert client.is_model_ready("echo", headers=authorization)
assert client.is_model_ready("echo", "1", headers=authorization)
assert not client.is_model_ready("nobody", headers=authorization)
assert not client.is_model_ready("echo", "2", headers=authorization)
metadata = client.get_model_metadata("echo", headers=authorization)
assert (metadata.name, list(metadata.versions), metadata.platform) == ("echo", ["1"], "wasm")
assert [(port.name, port.datatype, list(port.shape)) for port in metadata.inputs] == [
    (port.name, port.datatype, list(port.shape)) for port in metadata.outputs
]
# A name with an alias means what that says; a header insists on a version of it.
assert client.is_model_ready("echo:prod", headers=authorization)
assert not client.is_model_ready("echo:nobody", headers=authorization)
assert client.get_model_metadata("echo:prod", headers=authorization).name == "echo"
config = client.get_model_config("identity-fp32", headers=authorization, as_json=True)["config"]
assert (config["name"], config["platform"], config["input"][0]["data_type"]) == ("identity-fp32", "onnx", "TYPE_FP32")
assert config["output"][0]["dims"] == ["2", "3"], config

# Every type through the plugin, at once.
everything = values.arrays()
for name, insists in (("echo:prod", {}), ("echo", {"aimass-version": "1"})):
    answer = client.infer(name, tensors(everything), headers=authorization | insists)
    assert (answer.get_response().model_name, answer.get_response().model_version) == ("echo", "1")
insists = authorization | {"aimass-version": "2"}
assert "not by 2" in refused("INVALID_ARGUMENT", client.infer, "echo", tensors(everything), headers=insists)
answer = client.infer("echo", tensors(everything), headers=authorization, request_id="seven")
assert answer.get_response().id == "seven" and answer.get_response().model_version == "1"
for name, sent in everything.items():
    assert values.same(answer.as_numpy(name), sent), name
# Two of the outputs, in another order.
wanted = [triton.InferRequestedOutput("INT8"), triton.InferRequestedOutput("BOOL")]
some = client.infer("echo", tensors(everything), outputs=wanted, headers=authorization).get_response()
assert [output.name for output in some.outputs] == ["INT8", "BOOL"]

# Every type that ONNX models take here, through a model of its own.
for datatype, array in everything.items():
    if datatype in ("BYTES", "BF16"):
        continue
    array = array.reshape(2, 3)
    answer = client.infer(f"identity-{datatype.lower()}", tensors({"x": array}, datatype), headers=authorization)
    assert values.same(answer.as_numpy("y"), array), datatype

# Refusals.
wrong = tensors({"x": np.zeros([3, 3], np.float32)}, "FP32")
assert "`x`" in refused("INVALID_ARGUMENT", client.infer, "identity-fp32", wrong, headers=authorization)
right = tensors({"x": np.ones([2, 3], np.float32)}, "FP32")
refused("UNAUTHENTICATED", client.infer, "identity-fp32", right)
refused("NOT_FOUND", client.infer, "nobody", right, headers=authorization)
refused("UNIMPLEMENTED", client.infer, "identity-fp32", right, headers=authorization, sequence_id=7)
refused("UNIMPLEMENTED", client.infer, "identity-fp32", right, headers=authorization, compression_algorithm="gzip")
refused("UNIMPLEMENTED", client.get_trace_settings, headers=authorization)
refused("RESOURCE_EXHAUSTED", client.load_model, "x" * (2 << 20), headers=authorization)
absent = [triton.InferRequestedOutput("z")]
refused("INVALID_ARGUMENT", client.infer, "identity-fp32", right, outputs=absent, headers=authorization)

# The repository.
index = client.get_model_repository_index(headers=authorization).models
assert {"echo", "identity-fp32"} <= {entry.name for entry in index}, index
assert all(entry.state == "READY" and entry.version == "1" for entry in index), index
client.unload_model("identity-fp32", headers=authorization)
states = {entry.name: entry.state for entry in client.get_model_repository_index(headers=authorization).models}
assert (states["identity-fp32"], states["echo"]) == ("UNAVAILABLE", "READY"), states
assert not client.is_model_ready("identity-fp32", headers=authorization)
usage = client.get_inference_statistics("identity-fp32", headers=authorization).model_stats[0].memory_usage
assert not usage, usage
client.load_model("identity-fp32", headers=authorization)
assert client.is_model_ready("identity-fp32", headers=authorization)
# A call loads on demand, too.
client.unload_model("identity-fp32", headers=authorization)
client.infer("identity-fp32", right, headers=authorization)
assert client.is_model_ready("identity-fp32", headers=authorization)
refused("NOT_FOUND", client.load_model, "nobody", headers=authorization)
refused("UNIMPLEMENTED", client.load_model, "echo", config="{}", headers=authorization)

# Statistics.
(before,) = client.get_inference_statistics("identity-fp32", "1", headers=authorization).model_stats
for _ in range(5):
    client.infer("identity-fp32", right, headers=authorization)
(after,) = client.get_inference_statistics("identity-fp32", headers=authorization).model_stats
assert after.inference_count == before.inference_count + 5 and after.execution_count == after.inference_count
stats = after.inference_stats
assert stats.success.count == after.inference_count and stats.success.ns > before.inference_stats.success.ns
assert stats.compute_infer.count == stats.queue.count == stats.success.count and stats.fail.count == 0
assert [batch.batch_size for batch in after.batch_stats] == [1] and after.last_inference > before.last_inference >= 0
everybody = client.get_inference_statistics(headers=authorization).model_stats
assert {"echo", "identity-fp32"} <= {of.name for of in everybody}

# Streaming: answers in the requests' order, an error for one of them, and the stream goes on.
came = queue.Queue()
client.start_stream(lambda result, error: came.put((result, error)), headers=authorization)
for i in range(20):
    model = "nobody" if i == 7 else "identity-fp32"
    inputs = tensors({"x": np.full([2, 3], i, np.float32)}, "FP32")
    client.async_stream_infer(model, inputs, request_id=str(i), enable_empty_final_response=i % 2 == 0)
for i in range(20):
    result, error = came.get(timeout=30)
    if i == 7:
        assert result is None and "not_found" in error.message(), (result, error)
        continue
    assert error is None, error
    response = result.get_response()
    assert response.id == str(i) and response.parameters["triton_final_response"].bool_param
    assert values.same(result.as_numpy("y"), np.full([2, 3], i, np.float32))
client.stop_stream()
assert came.empty(), "one answer a request"
# A stream without a token never begins.
client.start_stream(lambda result, error: came.put((result, error)))
result, error = came.get(timeout=30)
assert error.status() == "StatusCode.UNAUTHENTICATED", error
client.stop_stream()
# Not left to the interpreter: at its end the threads that this waits for do not run any more.
client.close()
print("done")
