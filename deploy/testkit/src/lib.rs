//! Fixtures that the tests and the benchmarks of several crates share. Nothing of the product depends on this
//! crate, and it depends on neither program: it starts their binaries. A fixture panics where it fails, as a
//! test does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture panics where it fails, as a test does"
)]

mod blackhole_proxy;
pub mod events;
mod fake_airflow;
mod fake_provider;
mod forward_proxy;
mod keys;
pub mod lists;
mod program;
mod seed;
mod settings;
mod token_gateway;
mod topics;
mod tunnel_proxy;

pub use blackhole_proxy::BlackholeProxy;
pub use fake_airflow::{FakeAirflow, FakeList, ListBehavior, TriggerBehavior};
pub use fake_provider::FakeProvider;
pub use forward_proxy::ForwardProxy;
pub use keys::{keyring, sealing_keys};
pub use local::{eventually, eventually_true};
pub use program::{ApiProcess, ProgramSettings, WorkerProcess, output_of, stdout_of};
pub use seed::{
    SeededSync, create_connector, create_connectors, create_space, insert_sync, store_credentials,
};
pub use settings::assert_hidden_settings;
pub use token_gateway::{GATEWAY_CLIENT, GATEWAY_SECRET, TokenGateway, TokenGatewaySettings};
pub use topics::{create_topics, kafka_config, test_topics};
pub use tunnel_proxy::TunnelProxy;
