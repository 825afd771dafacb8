//! What `wit/` says, in Rust: the standard imports generated, the model interface by hand (so that inputs are
//! lowered straight from the caller's bytes, without a copy on the way).

use aimass_core::{ElementType, Fault, Port, Result, Signature, Tensor};
use wasmtime::component::{ComponentType, Lift, Lower};

mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    wasmtime::component::bindgen!({
        path: "../../../wit",
        world: "aimass:plugin/platform",
        imports: {
            "wasi:logging": trappable,
            "wasi:config": trappable,
            "wasi:nn/tensor": trappable,
            "wasi:nn/errors": trappable,
            default: async | trappable,
        },
        with: {
            "wasi:nn/tensor.tensor": crate::host::nn::HostTensor,
            "wasi:nn/errors.error": crate::host::nn::HostError,
            "wasi:nn/graph.graph": crate::host::nn::HostGraph,
            "wasi:nn/inference.graph-execution-context": crate::host::nn::HostExecution,
            "wasi:keyvalue/store.bucket": crate::host::keyvalue::HostBucket,
        },
        require_store_data_send: true,
    });
}

pub(crate) use generated::wasi::{config, keyvalue, logging, nn};

macro_rules! element_types {
    ($($name:ident $text:literal,)*) => {
        /// `types.element-type`.
        #[derive(Clone, Copy, ComponentType, Lift, Lower)]
        #[component(enum)]
        #[repr(u8)]
        pub(crate) enum WitElementType { $(#[component(name = $text)] $name,)* }

        impl From<ElementType> for WitElementType {
            fn from(ty: ElementType) -> Self {
                match ty { $(ElementType::$name => Self::$name,)* }
            }
        }

        impl From<WitElementType> for ElementType {
            fn from(ty: WitElementType) -> Self {
                match ty { $(WitElementType::$name => Self::$name,)* }
            }
        }
    };
}

element_types! {
    Bool "bool", Uint8 "uint8", Uint16 "uint16", Uint32 "uint32", Uint64 "uint64",
    Int8 "int8", Int16 "int16", Int32 "int32", Int64 "int64",
    Fp16 "fp16", Bf16 "bf16", Fp32 "fp32", Fp64 "fp64", Bytes "bytes",
}

/// `types.tensor` on its way in, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct TensorIn<'a> {
    name: &'a str,
    #[component(name = "element-type")]
    element_type: WitElementType,
    shape: &'a [u64],
    data: &'a [u8],
}

impl<'a> From<&'a Tensor> for TensorIn<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self {
            name: tensor.name(),
            element_type: tensor.element_type().into(),
            shape: tensor.shape(),
            data: tensor.data(),
        }
    }
}

/// `types.tensor` on its way out, copied from the guest's memory once.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct TensorOut {
    name: String,
    #[component(name = "element-type")]
    element_type: WitElementType,
    shape: Vec<u64>,
    data: Vec<u8>,
}

impl TensorOut {
    pub(crate) fn size(&self) -> usize {
        self.data.len() + self.name.len() + size_of_val(self.shape.as_slice())
    }
}

impl TryFrom<TensorOut> for Tensor {
    type Error = Fault;

    fn try_from(tensor: TensorOut) -> Result<Self> {
        Tensor::new(tensor.name, tensor.element_type.into(), tensor.shape, tensor.data)
    }
}

/// `types.fault`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum WitFault {
    #[component(name = "invalid-input")]
    InvalidInput(String),
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "internal")]
    Internal(String),
}

/// `types.port`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct WitPort {
    name: String,
    #[component(name = "element-type")]
    element_type: WitElementType,
    shape: Vec<i64>,
    description: String,
}

/// `types.signature`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct WitSignature {
    inputs: Vec<WitPort>,
    outputs: Vec<WitPort>,
    description: String,
}

impl From<WitPort> for Port {
    fn from(port: WitPort) -> Self {
        Self {
            name: port.name,
            element_type: port.element_type.into(),
            shape: port.shape,
            description: port.description,
        }
    }
}

impl From<WitSignature> for Signature {
    fn from(signature: WitSignature) -> Self {
        let ports = |ports: Vec<WitPort>| ports.into_iter().map(Port::from).collect();
        Self { inputs: ports(signature.inputs), outputs: ports(signature.outputs), description: signature.description }
    }
}
