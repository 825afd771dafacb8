//! `aimass doctor`: what was found, and what to do about what is missing.

use aimass_inference::DeviceInfo;
use aimass_inference::process::EngineProcesses;
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Outcome, engines, output};
use crate::compose;
use crate::config::Raw;

/// Say which devices, engines and toolchains were found, and what to do about what is missing.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass doctor
  aimass doctor --json")]
pub(super) struct Doctor {}

impl Doctor {
    pub(super) async fn run(self, json: bool) -> Outcome {
        let config = Raw::default().checked(None).map_err(Failure::Other)?;
        let devices = EngineProcesses::new(compose::engines(&config)?).devices().await?;
        let findings = findings(devices);
        if json {
            output::json(&Value::Array(findings));
            return Ok(());
        }
        let row = |f: &Value| ["what", "found", "advice"].map(|field| output::cell(&f[field])).to_vec();
        println!("{}", output::table(&["WHAT", "FOUND", "WHAT TO DO"], findings.iter().map(row)));
        Ok(())
    }
}

const WITHOUT_GPU: &str = "models run on the CPU; for a GPU install its Vulkan driver, \
                           to try the GPU path without one: apt-get install mesa-vulkan-drivers";

fn findings(devices: Vec<DeviceInfo>) -> Vec<Value> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = vec![json!({ "what": "CPU", "found": format!("{cores} cores"), "advice": "" })];
    for device in devices {
        let kind = if device.software { " (software)" } else { "" };
        let advice = if device.available { "" } else { WITHOUT_GPU };
        all.push(json!({
            "what": format!("inference: {}", device.backend),
            "found": format!("{}{kind}", device.device),
            "advice": advice,
        }));
    }
    all.push(engines::finding());
    all.extend(
        aimass_toolchain::findings()
            .into_iter()
            .map(|f| json!({ "what": f.what, "found": f.found, "advice": f.advice })),
    );
    all
}
