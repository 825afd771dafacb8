//! `wasi:logging`.

use crate::bindings::logging::logging::{Host, Level as WitLevel};
use crate::log::Level;
use crate::state::Guest;

impl Host for Guest {
    fn log(&mut self, level: WitLevel, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            WitLevel::Trace => Level::Trace,
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error | WitLevel::Critical => Level::Error,
        };
        self.log.line(level, &context, &message);
        Ok(())
    }
}
