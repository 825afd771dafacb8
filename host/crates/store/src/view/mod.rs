//! The view: the state that the journal describes, in sled, as an index that may be lost at any time.

mod apply;
mod configuration;
mod deployments;
mod egress;
mod erasure;
mod identity;
mod index;
mod jobs;
mod keys;
mod open;
mod quotas;
mod rows;
mod state;
mod triggers;
mod uploads;
mod webhooks;

pub(crate) use apply::changes;
pub use configuration::{ConfigurationRow, SecretRow};
pub use deployments::{AliasRow, DeploymentRow};
pub use identity::{IssuerRow, RoleRow};
pub(crate) use index::Index;
pub use jobs::{FileRow, JobRow};
pub(crate) use open::{JournalEnd, build, open_or_rebuild, rebuild};
pub use quotas::Stored;
pub use rows::{ObjectRow, SignerRow, TenantRow, TokenRow, UploadOutcome, UploadRow, VersionRow};
pub(crate) use state::Pending;
pub use state::State;
pub use triggers::{RunRow, TriggerRow};
pub use webhooks::WebhookRow;
