//! `wasi:config/store`: the plugin's settings.

use crate::bindings::config::store::{Error, Host};
use crate::state::Guest;

impl Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.call().settings.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.call().settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }
}
