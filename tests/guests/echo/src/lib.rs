//! Gives back what it takes: one tensor of each element type, under the type's name. With the setting `spin` it never
//! ends, and with `fail` it refuses.

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Signature, settings};

struct Echo;

aimass_sdk::export_model!(Echo);

const TYPES: [ElementType; 14] = [
    ElementType::Bool,
    ElementType::Uint8,
    ElementType::Uint16,
    ElementType::Uint32,
    ElementType::Uint64,
    ElementType::Int8,
    ElementType::Int16,
    ElementType::Int32,
    ElementType::Int64,
    ElementType::Fp16,
    ElementType::Bf16,
    ElementType::Fp32,
    ElementType::Fp64,
    ElementType::Bytes,
];

impl Model for Echo {
    fn signature() -> Signature {
        TYPES.iter().fold(Signature::new("Gives back what it takes"), |signature, &ty| {
            signature.input(ty.to_string(), ty, [-1, 2]).output(ty.to_string(), ty, [-1, 2])
        })
    }

    fn infer(mut inputs: Inputs) -> Result<Outputs, Fault> {
        while settings::get("spin")?.is_some() {
            std::hint::black_box(());
        }
        if settings::get("fail")?.is_some() {
            return Err(Fault::internal("it was told to fail"));
        }
        TYPES.iter().try_fold(Outputs::new(), |outputs, ty| Ok(outputs.with(inputs.take(&ty.to_string())?)))
    }
}
