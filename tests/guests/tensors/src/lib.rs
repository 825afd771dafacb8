//! Hands its tensor to a model, or misuses `wasi:nn`: the setting `does` says which.
//!
//! The settings `model`, `input` and `output` name the model and its ports.

use std::time::Duration;

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Signature, Tensor, nn, settings};

struct Tensors;

aimass_sdk::export_model!(Tensors);

impl Model for Tensors {
    fn signature() -> Signature {
        Signature::new("Hands its tensor to a model")
            .input("x", ElementType::Fp32, [-1, -1, -1, -1])
            .output("y", ElementType::Fp32, [-1])
    }

    fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
        let x = inputs.get("x")?;
        match settings::get("does")?.as_deref() {
            // One tensor of 200 MiB.
            Some("large") => drop(nn::Tensor::from_slice([50 << 20], &vec![1f32; 50 << 20])?),
            // As many as there is room for.
            Some("many") => {
                let mut held = vec![];
                for _ in 0..1_000_000 {
                    held.push(nn::Tensor::from_slice([16], &[1f32; 16])?);
                }
            }
            // Something set and never used.
            Some("sleep") => {
                let _held = nn::Tensor::from_slice([1 << 20], &vec![1f32; 1 << 20])?;
                std::thread::sleep(Duration::from_secs(3_600));
            }
            _ => {}
        }
        let graph = nn::Graph::load_by_name(&settings::require("model")?)?;
        let shape: Vec<u32> = x.shape().iter().map(|&size| size as u32).collect();
        let tensor = nn::Tensor::from_slice(shape, &x.as_slice::<f32>()?)?;
        let mut answer = graph.compute([(settings::require("input")?, tensor)])?;
        let y = answer.take(&settings::require("output")?)?.to_vec::<f32>()?;
        Ok(Outputs::new().with(Tensor::from_slice("y", [y.len() as u64], &y)?))
    }
}
