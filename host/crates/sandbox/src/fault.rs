//! From what wasmtime says to what a caller is told.

use std::time::Duration;

use aimass_core::{Code, Fault};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use crate::bindings::WitFault;
use crate::limits::Exceeded;
use crate::log::escaped;
use crate::state::DeadlinePassed;

/// The longest message of a guest that is passed on to its caller.
const MAX_MESSAGE: usize = 1 << 10;

/// What a failed instantiation or call means. The backtrace, with the guest's own names, goes to the log only.
pub(crate) fn of(error: wasmtime::Error) -> Fault {
    classify(&error).caused_by(format_args!("{error:?}"))
}

/// The deadline passed while the guest was waiting.
pub(crate) fn deadline() -> Fault {
    Fault::new(Code::PluginDeadline, "the plugin did not end before its deadline")
}

/// What the guest itself reported.
pub(crate) fn reported(fault: WitFault) -> Fault {
    let bounded = |message: String| escaped(&message, MAX_MESSAGE);
    match fault {
        WitFault::InvalidInput(message) => Fault::new(Code::InvalidRequest, bounded(message)),
        WitFault::Unavailable(message) => {
            Fault::new(Code::Unavailable, bounded(message)).retry_after(Duration::from_secs(1))
        }
        WitFault::Internal(message) => Fault::new(Code::PluginFault, bounded(message)),
    }
}

fn classify(error: &wasmtime::Error) -> Fault {
    let limit = |detail: String| Fault::new(Code::PluginResourceLimit, detail);
    let trap = |detail: String| Fault::new(Code::PluginTrap, detail);
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return limit(exceeded.to_string());
    }
    if error.is::<DeadlinePassed>() {
        return deadline();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::new(Code::Overloaded, "too many plugins run at this moment; try again")
            .retry_after(Duration::from_secs(1));
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return limit("the plugin holds too many resources".to_owned());
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return trap(format!("the plugin called exit({status})"));
    }
    if let Some(reason) = error.downcast_ref::<Trap>() {
        return match reason {
            Trap::Interrupt => deadline(),
            Trap::AllocationTooLarge => limit("the plugin wanted too much memory at once".to_owned()),
            reason => trap(reason.to_string()),
        };
    }
    // These two have no type of their own to ask for.
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        return limit("the plugin passed too much data in one call to the host".to_owned());
    }
    if text.contains("handle") && text.contains("limit") {
        return limit("the plugin holds too many resources".to_owned());
    }
    trap("the plugin broke off".to_owned())
}
