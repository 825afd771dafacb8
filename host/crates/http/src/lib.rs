//! HTTP: the listener, the routes, and how a [`Fault`](aimass_core::Fault) becomes a status.
//!
//! Only this crate names axum and hyper's server, and only it knows statuses. Every route stands in one table
//! ([`routes`]) together with who may call it; a route cannot be added without saying that.

mod addresses;
mod api;
mod app;
mod connection;
mod console;
mod depth;
mod extract;
mod functions;
mod grpc;
mod guard;
mod hooks;
mod later;
mod linger;
mod listener;
mod metrics;
pub mod oip;
mod openapi;
mod operations;
mod owed;
mod pace;
mod prefer;
mod problem;
mod repeat;
mod repository;
mod request;
mod routes;
mod routing;
mod tls;
mod traced;
mod v2;

pub use app::App;
pub use listener::{ListenerConfig, serve};
pub use openapi::openapi;
pub use routes::{Access, Route, routes};
pub use tls::Tls;
