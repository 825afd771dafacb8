//! `wasi:config/store`: the plugin's settings and secrets, opened when the guest first asks and wiped with the call.

use aimass_core::seam::Values;

use crate::bindings::config::store::{Error, Host};
use crate::state::Guest;

impl Guest {
    fn values(&mut self) -> Result<&Values, Error> {
        if self.values.is_none() {
            let opened = self.call().settings.open().map_err(|fault| {
                let (plugin, request) = (&self.call().plugin, &self.call().request_id);
                tracing::error!(%fault, cause = fault.cause(), %plugin, %request, "a configuration cannot be opened");
                Error::Io("the settings cannot be read".to_owned())
            })?;
            self.values = Some(opened);
        }
        self.values.as_ref().ok_or_else(|| Error::Io("the settings cannot be read".to_owned()))
    }
}

impl Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(self.values().map(|values| values.get(&key).map(str::to_owned)))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let all = |values: &Values| values.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Ok(self.values().map(all))
    }
}
