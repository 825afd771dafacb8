//! Everything that is tested over the real binary, and the rules that no compiler keeps. One test binary: linking is
//! slow on small machines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod api;
mod audit;
mod authorisation;
mod backup;
mod batch;
mod buckets;
mod clients;
mod compiling;
mod console;
mod console_pages;
mod crash;
mod demo;
mod deployments;
mod dev;
mod egress;
mod engines;
mod fairness;
mod faults;
mod files;
mod functions;
mod gpu;
mod hostile;
mod http2;
mod identity;
mod invocations;
mod invocations_crash;
mod languages;
mod logs;
mod metrics;
mod network;
mod onnxruntime;
mod openapi;
mod pinning;
mod plugins;
mod protocol;
mod repeats;
mod rollouts;
mod sealing;
mod shadows;
mod signing;
mod stopping;
mod support;
mod tensors;
mod tidy;
mod tls;
mod tokens;
mod tour;
mod traces;
mod triggers;
mod uploads;
mod usage;
mod webhooks;
