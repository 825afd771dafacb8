"""A runtime for MLServer, which ships none for ONNX: the model's inputs by name, its outputs in order."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, ["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {given.name: NumpyCodec.decode_input(given) for given in payload.inputs}
        answers = self.session.run(None, inputs)
        outputs = [NumpyCodec.encode_output(name, answer) for name, answer in zip(self.names, answers)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
