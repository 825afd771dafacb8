//! Which versions serve under a name: aliases, canaries with gates, rollback, and the history of it all.

mod aliases;
mod diff;
mod live;
mod pinning;
mod rollout;
mod route;
mod shadow;
mod shadow_function;

pub use aliases::{AliasDocument, DeploymentDocument, VersionFigures};
pub use diff::{Changed, DiffDocument, KeyChanges, Names, PortChange, Side};
pub use live::Routing;
pub(crate) use live::{Live, only};
pub use rollout::PromoteWish;
pub(crate) use rollout::Rollouts;
pub(crate) use rollout::seen;
pub use route::{AliasWish, DeployWish};
pub use shadow::ShadowFigures;
pub(crate) use shadow::{Shadowed, Shadows};
pub(crate) use shadow_function::AnswerCopy;
