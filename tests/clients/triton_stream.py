"""A stream of Triton's client that its server ends. Arguments: host:port, token.

Prints `open` when the first answer came; waits for a line on standard input; sends again, and prints how it ended.
"""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton

address, token = sys.argv[1:]
client = triton.InferenceServerClient(address)
came = queue.Queue()


def send():
    tensor = triton.InferInput("x", [2, 3], "FP32")
    tensor.set_data_from_numpy(np.zeros([2, 3], np.float32))
    client.async_stream_infer("identity-fp32", [tensor])


client.start_stream(lambda result, error: came.put(error), headers={"authorization": f"Bearer {token}"})
send()
assert came.get(timeout=30) is None
print("open", flush=True)
if sys.stdin.readline().strip() == "send":
    send()
print(came.get(timeout=30).status(), flush=True)
client.stop_stream()
client.close()
