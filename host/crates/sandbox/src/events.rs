//! Telling a plugin of an event.

use aimass_core::Result;
use aimass_core::cloud_event::{CloudEvent, DATA_CONTENT_TYPE};
use wasmtime::Store;
use wasmtime::component::{ComponentType, Lower};

use crate::bindings::WitFault;
use crate::fault;
use crate::plugin::Plugin;
use crate::run::Deadline;
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

pub(crate) async fn handle(
    plugin: &Plugin,
    mut store: Store<Guest>,
    deadline: Deadline,
    event: &CloudEvent,
) -> Result<()> {
    let handle = plugin.events.ok_or_else(|| Plugin::unsupported(crate::inspect::EVENTS_INTERFACE))?;
    let data = event.data.to_string();
    let told = EventIn {
        id: &event.id,
        source: &event.source,
        kind: &event.kind,
        subject: event.subject.as_deref(),
        time: Some(&event.time),
        data_content_type: Some(DATA_CONTENT_TYPE),
        data_schema: None,
        extensions: &[],
        data: Some(data.as_bytes()),
    };
    let call = async {
        let instance = plugin.pre().instantiate_async(&mut store).await?;
        let handle = instance.get_typed_func::<Arguments<'_>, Answer>(&mut store, handle)?;
        let (answer,) = handle.call_async(&mut store, (told,)).await?;
        Ok(answer)
    };
    deadline.bound(call).await?.map_err(fault::reported)
}
