"""KServe's own clients, unmodified, REST and gRPC. Arguments: host:port, token."""

import asyncio
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

import values

address, token = sys.argv[1:]


async def over_grpc():
    metadata = [("authorization", f"Bearer {token}")]
    async with InferenceGRPCClient(address, retries=0) as client:
        assert await client.is_server_live() and await client.is_server_ready()
        assert await client.is_model_ready("echo", headers=metadata)
        assert not await client.is_model_ready("nobody", headers=metadata)
        for datatype in ("FP32", "INT64", "UINT8", "BOOL", "FP64", "INT16", "FP16"):
            array = values.arrays()[datatype].reshape(2, 3)
            for binary in (True, False):
                if datatype == "FP16" and not binary:
                    continue
                tensor = InferInput("x", [2, 3], datatype)
                tensor.set_data_from_numpy(array, binary_data=binary)
                ask = InferRequest(f"identity-{datatype.lower()}", [tensor], request_id="eleven")
                answer = await client.infer(ask, headers=metadata)
                came = answer.get_output_by_name("y").as_numpy().reshape(2, 3)
                assert answer.id == "eleven" and values.same(came, array), (datatype, binary, came)
        for binary in (True, False):
            # Typed contents could be any bytes; this client takes text only.
            text = values.arrays(binary)["BYTES"]
            tensor = InferInput("BYTES", list(text.shape), "BYTES")
            tensor.set_data_from_numpy(text, binary_data=binary)
            answer = await client.infer(InferRequest("text", [tensor], request_id="eleven"), headers=metadata)
            assert values.same(answer.get_output_by_name("BYTES").as_numpy(), text), binary
        try:
            await client.infer(InferRequest("nobody", []), headers=metadata)
            raise SystemExit("nobody answered")
        except grpc.RpcError as refused:
            assert refused.code() == grpc.StatusCode.NOT_FOUND, refused


async def over_rest():
    headers = {"authorization": f"Bearer {token}"}
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://{address}"
    assert await client.is_server_live(base) and await client.is_server_ready(base)
    assert await client.is_model_ready(base, "echo", headers=headers)
    assert not await client.is_model_ready(base, "nobody", headers=headers)
    for binary in (True, False):
        for datatype in ("FP32", "INT64", "UINT64", "BOOL", "INT8"):
            array = values.arrays(binary)[datatype].reshape(2, 3)
            tensor = InferInput("x", [2, 3], datatype)
            tensor.set_data_from_numpy(array, binary_data=binary)
            ask = InferRequest(f"identity-{datatype.lower()}", [tensor], request_id="eleven", parameters={"binary_data_output": binary})
            answer = await client.infer(base, ask, model_name=ask.model_name, headers=dict(headers))
            came = answer.get_output_by_name("y").as_numpy().reshape(2, 3)
            assert values.same(came.astype(array.dtype), array), (datatype, binary, came)
        # Over REST this client decodes what it gets to text, binary or not.
        text = values.arrays(binary=False)["BYTES"]
        tensor = InferInput("BYTES", list(text.shape), "BYTES")
        tensor.set_data_from_numpy(text, binary_data=binary)
        ask = InferRequest("text", [tensor], request_id="eleven", parameters={"binary_data_output": binary})
        answer = await client.infer(base, ask, model_name="text", headers=dict(headers))
        assert values.same(answer.get_output_by_name("BYTES").as_numpy(), text), binary
    try:
        await client.infer(base, InferRequest("nobody", []), model_name="nobody", headers=dict(headers))
        raise SystemExit("nobody answered")
    except httpx.HTTPStatusError as refused:
        assert refused.response.status_code == 404, refused
    await client.close()


asyncio.run(over_grpc())
asyncio.run(over_rest())
print("done")
