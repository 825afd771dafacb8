#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpus;
mod foreign;
mod forge;
mod rows;
mod store;
