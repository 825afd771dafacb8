//! What a plugin of AI Mass is written against: bindings of the platform's interfaces and a thin safe layer.
//!
//! A plugin that is called like a model is a type, its signature and `infer`:
//!
//! ```
//! use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Signature, Tensor, log, nn, settings};
//!
//! struct Digits;
//!
//! impl Model for Digits {
//!     fn signature() -> Signature {
//!         Signature::new("Recognises handwritten digits")
//!             .input("image", ElementType::Uint8, [28, 28])
//!             .output("digit", ElementType::Int64, [1])
//!     }
//!
//!     fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
//!         let pixels: Vec<f32> =
//!             inputs.get("image")?.as_slice::<u8>()?.iter().map(|&p| f32::from(p) / 255.0).collect();
//!
//!         let model = settings::get("model")?.unwrap_or("digits".into());
//!         let graph = nn::Graph::load_by_name(&model)?;
//!         let outputs = graph.compute([("image", nn::Tensor::from_slice([1, 1, 28, 28], &pixels)?)])?;
//!         let scores = outputs.get("scores")?.to_vec::<f32>()?;
//!
//!         let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
//!         log::debug!("digit {best}");
//!         Ok(Tensor::from_slice("digit", [1], &[best as i64])?.into())
//!     }
//! }
//!
//! aimass_sdk::export_model!(Digits);
//! # // What follows is its unit test: it runs on the host, without WebAssembly.
//! # use aimass_sdk::testing;
//! testing::model("digits", |_| Ok(vec![("scores".into(), nn::Tensor::from_slice([1, 3], &[0.1f32, 0.7, 0.2])?)]));
//! let image = Tensor::from_slice("image", [28, 28], &[0u8; 784])?;
//! let outputs = Digits::infer(Inputs::from(vec![image]))?;
//! assert_eq!(*outputs.get("digit")?.as_slice::<i64>()?, [1]);
//! # Ok::<(), Fault>(())
//! ```
//!
//! A plugin that is told of events implements [`Events`]; a component may do both.
//!
//! `aimass new --template model` makes such a project, `aimass build` the component. For a plugin that is an HTTP
//! function use the crate `wasip2` (`wasi:http`); [`kv`], [`nn`], [`settings`] and [`log`] work there as well.
//!
//! Unit tests run on the host with `cargo test`: what the platform gives is then stood in for by [`testing`].

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod convert;
mod element;
#[doc(hidden)]
pub mod event_bindings;
mod events;
mod fault;
pub mod kv;
pub mod log;
mod model;
pub mod nn;
pub mod settings;
mod signature;
mod tensor;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use element::{Element, ElementType};
pub use events::{Event, Events};
pub use fault::Fault;
pub use model::{Inputs, Model, Outputs};
pub use signature::{Port, Signature};
pub use tensor::Tensor;
