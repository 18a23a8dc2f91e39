//! Tests of the files in `deploy/` and of the documents.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it panics")]

mod architecture;
mod chart;
mod checks;
mod components;
mod compose;
mod configuration;
mod documents;
mod image;
mod operator;
mod systemd;
mod table_rows;
mod tls;
mod walkthrough;
