#![doc = include_str!("../README.md")]

pub mod app;
pub mod cli;
pub mod commands;
pub mod consumer;
pub mod expectations;
mod http;
pub mod metrics;
pub mod notifications;
pub mod projection;
pub mod queue;
pub mod records;
mod relay;
pub mod retention;
pub mod signals;
pub mod store;
pub mod sync;
