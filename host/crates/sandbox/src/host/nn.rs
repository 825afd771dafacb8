//! `wasi:nn`, asynchronous on this side: while a model runs, the guest's thread does other work.

#![allow(unreachable_pub)] // The generated bindings re-export the resource types, which needs them `pub`.

use std::sync::Arc;

use aimass_core::seam::Model;
use aimass_core::{Code, ElementType, Fault, ObjectRef, Tensor};
use bytes::Bytes;
use wasmtime::component::Resource;

use crate::bindings::nn::errors::{self, ErrorCode};
use crate::bindings::nn::graph::{self, ExecutionTarget, GraphEncoding};
use crate::bindings::nn::inference;
use crate::bindings::nn::tensor::{self, TensorType};
use crate::state::Guest;

/// A tensor that stays on the host's side: an output that becomes the next input is never copied into the guest.
pub struct HostTensor(Tensor);

/// A model, ready.
pub struct HostGraph {
    model: Arc<dyn Model>,
    /// Bytes that were counted for it.
    held: usize,
}

/// A model, to be run. Runs of one context share nothing, so there is nothing else in it.
pub struct HostExecution(Arc<dyn Model>);

/// What went wrong, as a resource: that is how this version of `wasi:nn` gives errors.
pub struct HostError {
    code: ErrorCode,
    data: String,
}

type Answer<T> = wasmtime::Result<Result<T, Resource<HostError>>>;

impl Guest {
    fn fail<T>(&mut self, code: ErrorCode, data: impl Into<String>) -> Answer<T> {
        Ok(Err(self.table.push(HostError { code, data: data.into() })?))
    }

    fn refuse<T>(&mut self, fault: Fault) -> Answer<T> {
        if let Some(cause) = fault.cause() {
            tracing::warn!(code = %fault.code(), cause, request_id = &*self.call().request_id, "wasi:nn call failed");
        }
        self.fail(error_code(fault.code()), fault.detail())
    }

    fn push_tensor(&mut self, tensor: Tensor) -> wasmtime::Result<Resource<HostTensor>> {
        self.hold(tensor.data().len())?;
        Ok(self.table.push(HostTensor(tensor))?)
    }

    fn take_tensor(&mut self, tensor: Resource<HostTensor>) -> wasmtime::Result<Tensor> {
        let HostTensor(tensor) = self.table.delete(tensor)?;
        self.release(tensor.data().len());
        Ok(tensor)
    }
}

impl tensor::Host for Guest {}

impl tensor::HostTensor for Guest {
    fn new(&mut self, dimensions: Vec<u32>, ty: TensorType, data: Vec<u8>) -> wasmtime::Result<Resource<HostTensor>> {
        let shape: Vec<u64> = dimensions.into_iter().map(u64::from).collect();
        // The constructor has no way to answer with an error, so bytes that do not fit end the call.
        let tensor = Tensor::new("", element_type(ty), shape, data)
            .map_err(|fault| wasmtime::format_err!("wasi:nn tensor: {}", fault.detail()))?;
        self.push_tensor(tensor)
    }

    fn dimensions(&mut self, tensor: Resource<HostTensor>) -> wasmtime::Result<Vec<u32>> {
        // Dimensions came in as u32, or were checked by `outputs`.
        let HostTensor(tensor) = self.table.get(&tensor)?;
        Ok(tensor.shape().iter().map(|&d| u32::try_from(d).unwrap_or(u32::MAX)).collect())
    }

    fn ty(&mut self, tensor: Resource<HostTensor>) -> wasmtime::Result<TensorType> {
        let HostTensor(tensor) = self.table.get(&tensor)?;
        tensor_type(tensor.element_type()).ok_or_else(|| wasmtime::format_err!("wasi:nn has no such type"))
    }

    fn data(&mut self, tensor: Resource<HostTensor>) -> wasmtime::Result<Vec<u8>> {
        let HostTensor(tensor) = self.table.get(&tensor)?;
        Ok(tensor.data().to_vec())
    }

    fn drop(&mut self, tensor: Resource<HostTensor>) -> wasmtime::Result<()> {
        self.take_tensor(tensor)?;
        Ok(())
    }
}

impl errors::Host for Guest {}

impl errors::HostError for Guest {
    fn code(&mut self, error: Resource<HostError>) -> wasmtime::Result<ErrorCode> {
        Ok(self.table.get(&error)?.code)
    }

    fn data(&mut self, error: Resource<HostError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&error)?.data.clone())
    }

    fn drop(&mut self, error: Resource<HostError>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl graph::Host for Guest {
    async fn load(
        &mut self,
        builder: Vec<Vec<u8>>,
        encoding: GraphEncoding,
        _target: ExecutionTarget,
    ) -> Answer<Resource<HostGraph>> {
        // Where it runs is the platform's choice: the target is a wish in wasi:nn.
        if !matches!(encoding, GraphEncoding::Onnx | GraphEncoding::Autodetect) {
            return self.fail(ErrorCode::InvalidEncoding, "a model is given as ONNX");
        }
        let Ok([onnx]) = <[Vec<u8>; 1]>::try_from(builder) else {
            return self.fail(ErrorCode::InvalidArgument, "an ONNX model is one builder");
        };
        let held = onnx.len();
        self.hold(held)?;
        let (services, log) = (self.services.clone(), self.log.clone());
        match services.inference.from_bytes(log.call.asking(), Bytes::from(onnx)).await {
            Ok(model) => Ok(Ok(self.table.push(HostGraph { model, held })?)),
            Err(fault) => {
                self.release(held);
                self.refuse(fault)
            }
        }
    }

    async fn load_by_name(&mut self, name: String) -> Answer<Resource<HostGraph>> {
        let reference: ObjectRef = match name.parse() {
            Ok(reference) => reference,
            Err(fault) => return self.refuse(fault),
        };
        let (services, log) = (self.services.clone(), self.log.clone());
        match services.inference.by_name(log.call.asking(), &reference).await {
            Ok(model) => Ok(Ok(self.table.push(HostGraph { model, held: 0 })?)),
            Err(fault) => self.refuse(fault),
        }
    }
}

impl graph::HostGraph for Guest {
    async fn init_execution_context(&mut self, graph: Resource<HostGraph>) -> Answer<Resource<HostExecution>> {
        let model = self.table.get(&graph)?.model.clone();
        Ok(Ok(self.table.push(HostExecution(model))?))
    }

    async fn drop(&mut self, graph: Resource<HostGraph>) -> wasmtime::Result<()> {
        let graph = self.table.delete(graph)?;
        self.release(graph.held);
        Ok(())
    }
}

impl inference::Host for Guest {}

impl inference::HostGraphExecutionContext for Guest {
    async fn compute(
        &mut self,
        context: Resource<HostExecution>,
        inputs: Vec<(String, Resource<HostTensor>)>,
    ) -> Answer<Vec<(String, Resource<HostTensor>)>> {
        let model = self.table.get(&context)?.0.clone();
        let mut tensors = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            tensors.push(self.take_tensor(tensor)?.renamed(name));
        }
        if let Err(fault) = model.signature().check_inputs(&tensors) {
            return self.refuse(fault);
        }
        let outputs = match model.infer(tensors, self.deadline).await {
            Ok(outputs) => outputs,
            Err(fault) => return self.refuse(fault),
        };
        let mut answer = Vec::with_capacity(outputs.len());
        for output in outputs {
            let output = match representable(output) {
                Ok(output) => output,
                Err(detail) => return self.fail(ErrorCode::UnsupportedOperation, detail),
            };
            let name = output.name().to_owned();
            answer.push((name, self.push_tensor(output)?));
        }
        Ok(Ok(answer))
    }

    async fn drop(&mut self, context: Resource<HostExecution>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}

/// An output that `wasi:nn` has words for: its types are seven, its dimensions 32 bits wide. A BOOL is a U8 of the
/// same bytes.
fn representable(output: Tensor) -> Result<Tensor, String> {
    if let Some(wide) = output.shape().iter().find(|&&d| u32::try_from(d).is_err()) {
        return Err(format!("a dimension of the output is {wide}: wasi:nn has 32 bits"));
    }
    if output.element_type() == ElementType::Bool {
        return Tensor::new(output.name(), ElementType::Uint8, output.shape(), output.data().clone())
            .map_err(|fault| fault.detail().to_owned());
    }
    match tensor_type(output.element_type()) {
        Some(_) => Ok(output),
        None => Err(format!("the model answers with {}, which wasi:nn does not have", output.element_type())),
    }
}

fn element_type(ty: TensorType) -> ElementType {
    match ty {
        TensorType::Fp16 => ElementType::Fp16,
        TensorType::Fp32 => ElementType::Fp32,
        TensorType::Fp64 => ElementType::Fp64,
        TensorType::Bf16 => ElementType::Bf16,
        TensorType::U8 => ElementType::Uint8,
        TensorType::I32 => ElementType::Int32,
        TensorType::I64 => ElementType::Int64,
    }
}

fn tensor_type(ty: ElementType) -> Option<TensorType> {
    Some(match ty {
        ElementType::Fp16 => TensorType::Fp16,
        ElementType::Fp32 => TensorType::Fp32,
        ElementType::Fp64 => TensorType::Fp64,
        ElementType::Bf16 => TensorType::Bf16,
        ElementType::Uint8 => TensorType::U8,
        ElementType::Int32 => TensorType::I32,
        ElementType::Int64 => TensorType::I64,
        _ => return None,
    })
}

fn error_code(code: Code) -> ErrorCode {
    match code {
        Code::InvalidRequest | Code::InvalidName | Code::InvalidTensor => ErrorCode::InvalidArgument,
        Code::NotFound => ErrorCode::NotFound,
        Code::InvalidModel => ErrorCode::InvalidEncoding,
        Code::UnsupportedDevice | Code::UnsupportedOperation => ErrorCode::UnsupportedOperation,
        Code::PayloadTooLarge | Code::PluginResourceLimit => ErrorCode::TooLarge,
        Code::PluginDeadline => ErrorCode::Timeout,
        Code::Unauthenticated | Code::InsufficientScope => ErrorCode::Security,
        _ => ErrorCode::RuntimeError,
    }
}
