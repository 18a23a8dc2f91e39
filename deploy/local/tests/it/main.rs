//! What lies in `deploy/`, and the documents, held against reality.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chart;
mod checks;
mod compose;
mod configuration;
mod documents;
mod fences;
mod image;
mod operator;
mod parts;
mod rows;
mod systemd;
mod tls;
mod walk;
