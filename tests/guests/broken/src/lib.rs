//! Takes what the guest `text` takes, and fails: a new version of it with a fault that no upload can find.

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Signature};

struct Broken;

aimass_sdk::export_model!(Broken);

impl Model for Broken {
    fn signature() -> Signature {
        let shape = [-1, 2];
        Signature::new("Gives back what it takes, it says")
            .input("BYTES", ElementType::Bytes, shape)
            .output("BYTES", ElementType::Bytes, shape)
    }

    fn infer(_: Inputs) -> Result<Outputs, Fault> {
        Err(Fault::internal("it was planted here"))
    }
}
