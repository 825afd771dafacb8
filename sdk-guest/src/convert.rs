//! Between the types of this crate and those that cross the boundary: fields move, nothing is copied.

use crate::bindings::aimass::plugin::types as raw;
use crate::event_bindings::exports::aimass::plugin::events as raw_events;
use crate::{ElementType, Event, Events, Fault, Inputs, Model, Port, Signature, Tensor};

/// One call of `M`, in the types of the boundary.
#[allow(clippy::missing_errors_doc)] // the model's own
pub fn infer<M: Model>(inputs: Vec<raw::Tensor>) -> Result<Vec<raw::Tensor>, raw::Fault> {
    let inputs: Vec<Tensor> = inputs.into_iter().map(Into::into).collect();
    let outputs: Vec<Tensor> = M::infer(Inputs::from(inputs))?.into();
    Ok(outputs.into_iter().map(Into::into).collect())
}

/// An event for `E`, in the types of the boundary.
#[allow(clippy::missing_errors_doc)] // the plugin's own
pub fn handle<E: Events>(event: raw_events::Event) -> Result<(), raw::Fault> {
    Ok(E::handle(event.into())?)
}

impl From<raw_events::Event> for Event {
    fn from(e: raw_events::Event) -> Self {
        Self {
            id: e.id,
            source: e.source,
            kind: e.type_,
            subject: e.subject,
            time: e.time,
            data_content_type: e.data_content_type,
            data_schema: e.data_schema,
            extensions: e.extensions,
            data: e.data,
        }
    }
}

macro_rules! element_types {
    ($($name:ident)*) => {
        impl From<raw::ElementType> for ElementType {
            fn from(ty: raw::ElementType) -> Self {
                match ty { $(raw::ElementType::$name => Self::$name,)* }
            }
        }
        impl From<ElementType> for raw::ElementType {
            fn from(ty: ElementType) -> Self {
                match ty { $(ElementType::$name => Self::$name,)* }
            }
        }
    };
}

element_types! { Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64 Bytes }

impl From<raw::Tensor> for Tensor {
    fn from(t: raw::Tensor) -> Self {
        Self { name: t.name, element_type: t.element_type.into(), shape: t.shape, data: t.data }
    }
}

impl From<Tensor> for raw::Tensor {
    fn from(t: Tensor) -> Self {
        Self { name: t.name, element_type: t.element_type.into(), shape: t.shape, data: t.data }
    }
}

impl From<Port> for raw::Port {
    fn from(p: Port) -> Self {
        Self { name: p.name, element_type: p.element_type.into(), shape: p.shape, description: p.description }
    }
}

impl From<Signature> for raw::Signature {
    fn from(s: Signature) -> Self {
        Self {
            inputs: s.inputs.into_iter().map(Into::into).collect(),
            outputs: s.outputs.into_iter().map(Into::into).collect(),
            description: s.description,
        }
    }
}

impl From<Fault> for raw::Fault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::InvalidInput(why) => Self::InvalidInput(why),
            Fault::Unavailable(why) => Self::Unavailable(why),
            Fault::Internal(why) => Self::Internal(why),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Outputs;

    struct Echo;

    impl Model for Echo {
        fn signature() -> Signature {
            Signature::new("Echoes").input("x", ElementType::Bytes, [-1]).output("y", ElementType::Bytes, [-1])
        }

        fn infer(mut inputs: Inputs) -> Result<Outputs, Fault> {
            Ok(inputs.take("x")?.renamed("y").into())
        }
    }

    #[test]
    fn a_call_crosses_the_boundary_both_ways() {
        let x = Tensor::from_bytes("x", [1], ["text"]).unwrap();
        let mut answer = infer::<Echo>(vec![x.clone().into()]).unwrap();
        assert_eq!(Tensor::from(answer.remove(0)), x.renamed("y"));
        assert!(matches!(infer::<Echo>(vec![]), Err(raw::Fault::InvalidInput(_))));
    }

    #[test]
    fn a_signature_keeps_its_ports() {
        let raw: raw::Signature = Echo::signature().into();
        assert_eq!(raw.inputs[0].shape, [-1]);
        assert_eq!(raw.outputs[0].name, "y");
    }
}
