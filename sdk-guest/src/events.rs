//! A plugin that is told of events.

use crate::Fault;

/// A plugin that is told of events, by triggers of the tenant's. Pass the type to
/// [`export_events!`](crate::export_events).
///
/// Every event is handled in an instance of its own: what a static holds is gone after it. An event may be told twice
/// (a node may stop in the middle of one): its [`Event::id`] says so.
///
/// ```
/// use aimass_sdk::{Event, Events, Fault, kv::Bucket};
///
/// struct Audit;
///
/// impl Events for Audit {
///     fn handle(event: Event) -> Result<(), Fault> {
///         let what = event.subject.as_deref().unwrap_or("something");
///         aimass_sdk::log::info!("{} of {what}", event.kind);
///         let text = event.text()?;
///         let seen = Bucket::open("seen").and_then(|seen| seen.set(&event.id, text.as_bytes()));
///         seen.map_err(|e| Fault::unavailable(e.to_string()))
///     }
/// }
///
/// aimass_sdk::export_events!(Audit);
/// ```
pub trait Events {
    /// Takes note of an event.
    ///
    /// # Errors
    /// Whatever keeps it from that. After [`Fault::Unavailable`] the event is told again later.
    fn handle(event: Event) -> Result<(), Fault>;
}

/// An event as CloudEvents 1.0 has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// With `source` it names this event and no other one.
    pub id: String,
    /// Where it happened, a URI reference: `/tenants/acme`.
    pub source: String,
    /// What kind of thing happened (`type`): `aimass.version.created`.
    pub kind: String,
    /// To what: `models/sum/versions/3`.
    pub subject: Option<String>,
    /// When, RFC 3339.
    pub time: Option<String>,
    /// What the data is: `application/json`.
    pub data_content_type: Option<String>,
    /// The data's schema, a URI.
    pub data_schema: Option<String>,
    /// Attributes besides, by name.
    pub extensions: Vec<(String, String)>,
    /// What else is known of it.
    pub data: Option<Vec<u8>>,
}

impl Event {
    /// The data as text; empty where there is none.
    ///
    /// # Errors
    /// [`Fault::InvalidInput`] if it is no UTF-8.
    ///
    /// ```
    /// # use aimass_sdk::Event;
    /// let event = Event { data: Some(b"{}".to_vec()), ..Event::default() };
    /// assert_eq!(event.text()?, "{}");
    /// # Ok::<(), aimass_sdk::Fault>(())
    /// ```
    pub fn text(&self) -> Result<&str, Fault> {
        let data = self.data.as_deref().unwrap_or_default();
        std::str::from_utf8(data).map_err(|_| Fault::invalid_input("the event's data is no UTF-8"))
    }
}

/// Makes a type that implements [`Events`] the export of this plugin. Once in a crate whose `crate-type` is `cdylib`.
///
/// On the host (in unit tests) it only checks that the type does.
///
/// ```
/// # use aimass_sdk::{Event, Events, Fault};
/// # struct Nothing;
/// # impl Events for Nothing {
/// #     fn handle(_: Event) -> Result<(), Fault> { Ok(()) }
/// # }
/// aimass_sdk::export_events!(Nothing);
/// ```
#[macro_export]
macro_rules! export_events {
    ($events:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Export;
            impl $crate::event_bindings::exports::aimass::plugin::events::Guest for Export {
                fn handle(
                    event: $crate::event_bindings::exports::aimass::plugin::events::Event,
                ) -> ::std::result::Result<(), $crate::bindings::aimass::plugin::types::Fault> {
                    $crate::convert::handle::<$events>(event)
                }
            }
    $crate::event_bindings::export_event_bindings!(Export with_types_in $crate::event_bindings);
        };
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn is_told_of_events<E: $crate::Events>() {}
            is_told_of_events::<$events>()
        };
    };
}
