//! Telling a plugin of an event.

use aimass_core::Result;
use aimass_core::cloud_event::CloudEvent;
use wasmtime::Store;
use wasmtime::component::{ComponentType, Lower};

use crate::bindings::WitFault;
use crate::demotion::Run;
use crate::fault;
use crate::plugin::Plugin;
use crate::state::Guest;

/// `events.event`, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
struct EventIn<'a> {
    id: &'a str,
    source: &'a str,
    #[component(name = "type")]
    kind: &'a str,
    subject: Option<&'a str>,
    time: Option<&'a str>,
    #[component(name = "data-content-type")]
    data_content_type: Option<&'a str>,
    #[component(name = "data-schema")]
    data_schema: Option<&'a str>,
    extensions: &'a [(&'a str, &'a str)],
    data: Option<&'a [u8]>,
}

type Arguments<'a> = (EventIn<'a>,);
type Answer = (std::result::Result<(), WitFault>,);

/// A call of `handle`, in `store`.
pub(crate) fn handle(plugin: &Plugin, mut store: Store<Guest>, event: CloudEvent) -> Result<Run<()>> {
    let export = plugin.events.ok_or_else(|| Plugin::unsupported(crate::inspect::EVENTS_INTERFACE))?;
    let pre = plugin.pre().clone();
    Ok(Box::pin(async move {
        let extensions: Vec<(&str, &str)> =
            event.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let told = EventIn {
            id: &event.id,
            source: &event.source,
            kind: &event.kind,
            subject: event.subject.as_deref(),
            time: event.time.as_deref(),
            data_content_type: event.data_content_type.as_deref(),
            data_schema: event.data_schema.as_deref(),
            extensions: &extensions,
            data: (!event.data.is_empty()).then_some(event.data.as_slice()),
        };
        let call = async {
            let instance = pre.instantiate_async(&mut store).await?;
            let handle = instance.get_typed_func::<Arguments<'_>, Answer>(&mut store, export)?;
            let (answer,) = handle.call_async(&mut store, (told,)).await?;
            Ok(answer)
        };
        call.await.map_err(fault::of)?.map_err(fault::reported)
    }))
}
