//! Gives back the BYTES that it takes: for clients that do not know every element type.

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Signature};

struct Text;

aimass_sdk::export_model!(Text);

impl Model for Text {
    fn signature() -> Signature {
        let shape = [-1, 2];
        Signature::new("Gives back what it takes")
            .input("BYTES", ElementType::Bytes, shape)
            .output("BYTES", ElementType::Bytes, shape)
    }

    fn infer(mut inputs: Inputs) -> Result<Outputs, Fault> {
        Ok(Outputs::new().with(inputs.take("BYTES")?))
    }
}
