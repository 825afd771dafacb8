//! The GPU engine: wonnx over Vulkan, which is fast for some models and wrong for others.
//!
//! A model gets here through five gates, and the first that stays shut is the reason it runs on the CPU instead:
//! 1. a device that may be used ([`Gpu`]);
//! 2. the lowering: its graph, at concrete shapes, must come apart into what wonnx computes rightly ([`lower`]);
//! 3. the whitelist: operators, types and sizes that wonnx is known to compute rightly;
//! 4. the canary: the same random inputs through both engines, at load;
//! 5. the race: on real hardware, it must be faster than the CPU.

mod canary;
mod convert;
mod lower;
mod prepare;
mod session;
mod shaped;
mod whitelist;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::shaped::Shaped;
use crate::backend::{Backend, LoadOptions, Loaded, Refused};
use crate::cpu::TractModel;
use crate::isolated;
use crate::loaded::Placement;
use crate::onnx::Onnx;

/// The engine's name.
pub(crate) const NAME: &str = "wonnx";

/// A driver that does not answer within this is no device.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// The node's GPU, looked for once and when it is first needed.
#[derive(Clone, Default)]
pub(crate) struct Gpu(Arc<OnceLock<Result<Adapter, String>>>);

/// The Vulkan device that wonnx would take.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(crate) name: String,
    /// It computes on the CPU (llvmpipe).
    pub(crate) software: bool,
}

impl Gpu {
    /// # Errors
    /// Why there is none.
    pub(crate) fn device(&self) -> Result<&Adapter, &str> {
        let probed = self.0.get_or_init(|| {
            isolated::run("gpu-probe", PROBE_LIMIT, probe)
                .unwrap_or_else(|lost| Err(format!("the Vulkan driver failed: {lost}")))
        });
        probed.as_ref().map_err(String::as_str)
    }
}

/// Asks for a device just as wonnx does, which panics where this returns.
fn probe() -> Result<Adapter, String> {
    let backends = wgpu::util::backend_bits_from_env().unwrap_or(wgpu::Backends::PRIMARY);
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..Default::default() });
    let runtime = blocking()?;
    let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, backends, None);
    let adapter = runtime.block_on(adapter).ok_or("there is no Vulkan device")?;
    let info = adapter.get_info();
    let device = adapter.request_device(&wgpu::DeviceDescriptor::default(), None);
    runtime.block_on(device).map_err(|e| format!("{} cannot be used: {e}", info.name))?;
    Ok(Adapter { software: info.device_type == wgpu::DeviceType::Cpu, name: info.name })
}

/// wonnx's functions are async without ever waiting for anything, so the smallest executor will do.
fn blocking() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().build().map_err(|e| format!("no executor: {e}"))
}

/// wonnx, as a [`Backend`]: reading, lowering, whitelist and session, without the canary and the race.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wonnx;

impl Backend for Wonnx {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Loaded>, Refused> {
        Ok(Box::new(Shaped::load(Onnx::read(model, options.max_tensor)?, options, None)?))
    }
}

/// A model that passed the whitelist and the canary: as [`place`] finds it, without the race, which no two machines end
/// alike.
///
/// # Errors
/// The gate that stayed shut.
#[cfg(test)]
pub(crate) fn compared(
    model: &[u8],
    options: &LoadOptions,
    mut cpu: Box<dyn Loaded>,
) -> Result<Box<dyn Loaded>, Refused> {
    let mut model = Shaped::load(Onnx::read(model, options.max_tensor)?, options, None)?;
    let first = model.first().clone();
    let error = canary::error(&mut model, cpu.as_mut(), &first).map_err(|error| Refused::new(error.to_string()))?;
    match error > canary::TOLERANCE {
        true => Err(Refused::new(canary::differs(error))),
        false => Ok(Box::new(model)),
    }
}

/// The file as it stands, without the lowering pass: what the whitelist says of it, and the canary's error.
///
/// # Errors
/// What wonnx, or the canary, says instead of an answer.
#[cfg(test)]
pub(crate) fn unlowered(model: &[u8], mut cpu: Box<dyn Loaded>) -> (Result<(), Refused>, Result<f64, String>) {
    let options = LoadOptions::default();
    let prepared = Onnx::read(model, options.max_tensor).and_then(|onnx| prepare::unlowered(&onnx));
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(refused) => return (Err(refused.clone()), Err(refused.0)),
    };
    let listed = whitelist::check(&prepared);
    let first = shaped::First::of(&prepared);
    let error = session::open(prepared, &options)
        .map_err(|refused| refused.0)
        .and_then(|mut gpu| canary::error(&mut gpu, cpu.as_mut(), &first).map_err(|error| error.to_string()));
    (listed, error)
}

/// The canary's error with the pass.
///
/// # Errors
/// What refuses the model, or the canary.
#[cfg(test)]
pub(crate) fn lowered(model: &[u8], mut cpu: Box<dyn Loaded>, options: &LoadOptions) -> Result<f64, String> {
    let onnx = Onnx::read(model, options.max_tensor).map_err(|refused| refused.0)?;
    let mut gpu = Shaped::load(onnx, options, None).map_err(|refused| refused.0)?;
    let first = gpu.first().clone();
    canary::error(&mut gpu, cpu.as_mut(), &first).map_err(|error| error.to_string())
}

/// A model that made it to the GPU.
pub(crate) struct Placed {
    pub(crate) model: Box<dyn Loaded>,
    pub(crate) placement: Placement,
}

/// Takes a model through the gates.
///
/// # Errors
/// The placement on the CPU, with the reason.
pub(crate) fn place(
    gpu: &Gpu,
    model: &[u8],
    software_too: bool,
    options: &LoadOptions,
    mut cpu: TractModel,
) -> Result<Placed, Placement> {
    let adapter = gpu.device().map_err(Placement::cpu)?;
    if adapter.software && !software_too {
        return Err(Placement::cpu(format!("the only Vulkan device is a software one, {}", adapter.name)));
    }
    let refused = |refused: Refused| Placement::cpu(refused.0);
    let onnx = Onnx::read(model, options.max_tensor).map_err(refused)?;
    let mut model = Shaped::load(onnx, options, Some(cpu.clone())).map_err(refused)?;
    let first = model.first().clone();
    let verdict = canary::compare(&mut model, &mut cpu, &first).map_err(|e| Placement::cpu(e.to_string()))?;
    let mut placement = Placement {
        backend: NAME.into(),
        device: adapter.name.clone(),
        reason: None,
        canary: Some(verdict.error),
        race: Some(verdict.race),
    };
    let reason = if verdict.error > canary::TOLERANCE {
        Some(canary::differs(verdict.error))
    } else if !adapter.software && verdict.race.gpu_ms >= verdict.race.cpu_ms {
        Some(format!(
            "the CPU is faster: {:.3} ms, and {:.3} ms on {}",
            verdict.race.cpu_ms, verdict.race.gpu_ms, adapter.name
        ))
    } else {
        None
    };
    match reason {
        Some(reason) => {
            (placement.backend, placement.device, placement.reason) = ("tract".into(), "CPU".into(), Some(reason));
            Err(placement)
        }
        None => Ok(Placed { model: Box::new(model), placement }),
    }
}

/// Reads, checks and lowers a file, every open dimension being 2.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let max_tensor = 1 << 20;
    let Ok(onnx) = Onnx::read(bytes, max_tensor) else { return };
    let known = |dimension: &i64| u64::try_from(*dimension).unwrap_or(2);
    let shapes: Vec<Vec<u64>> =
        onnx.signature.inputs.iter().map(|port| port.shape.iter().map(known).collect()).collect();
    if let Ok(prepared) = lower::lower(&onnx, &shapes, max_tensor) {
        let _ = whitelist::check(&prepared);
    }
}
