#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpus;
mod forge;
mod rows;
mod store;
