//! Status of the components: which ones run, their addresses and their health.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::airflow::{self, AirflowRole, AirflowVersion};
use crate::service::LocalService;
use crate::{kafka, postgres, product, receiver};

/// A component that `cargo local` can start and stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Component {
    /// The database
    Postgres,
    /// The event log
    Kafka,
    /// The source of the pipelines
    Airflow,
    /// The demo's mail server and webhook, which notifications are sent to
    Receiver,
    /// Our worker
    Worker,
    /// Our API
    Api,
}

/// One line of `cargo local status`.
#[derive(Debug, Serialize)]
pub struct ComponentStatus {
    /// The name of the component, or of a service that a test started.
    pub name: String,
    /// The process ID, if the component was started here and runs.
    pub pid: Option<u32>,
    /// Host and port.
    pub address: Option<String>,
    /// The log file, if the component was started here.
    pub log: Option<String>,
    /// Whether the component answers.
    pub healthy: bool,
}

impl Component {
    /// All components, in the order in which they are started.
    pub const ALL: [Self; 6] =
        [Self::Postgres, Self::Kafka, Self::Airflow, Self::Receiver, Self::Worker, Self::Api];

    /// Returns the service of this component.
    pub fn service(self) -> LocalService {
        LocalService::named(match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Airflow => "airflow",
            Self::Receiver => "receiver",
            Self::Worker => "worker",
            Self::Api => "api",
        })
    }

    /// Makes sure that the component and its dependencies run.
    pub async fn start(self) -> Result<()> {
        match self {
            Self::Postgres => postgres::postgres().await.map(drop),
            Self::Kafka => kafka::kafka().await.map(drop),
            Self::Airflow => airflow::airflow().await.map(drop),
            Self::Receiver => receiver::receiver().await.map(drop),
            Self::Worker => product::start_worker(&product::prepare().await?).await.map(drop),
            Self::Api => product::start_api(&product::prepare().await?, None).await.map(drop),
        }
    }

    /// Returns the configured address if the component is not run by this crate.
    fn external(self) -> Option<String> {
        match self {
            Self::Postgres => postgres::external_postgres(),
            Self::Kafka => kafka::external_kafka(),
            Self::Airflow => airflow::external_airflow(),
            Self::Receiver | Self::Worker | Self::Api => None,
        }
    }

    async fn is_healthy(self, external: Option<&str>, port: u16) -> bool {
        let local = format!("127.0.0.1:{port}");
        match self {
            Self::Postgres => match external {
                Some(url) => postgres::answers(url.to_owned()).await,
                None => postgres::is_healthy("postgres", port).await,
            },
            Self::Kafka => kafka::any_answers(external.unwrap_or(&local)).await,
            Self::Airflow => {
                let url = external.map_or_else(|| format!("http://{local}"), str::to_owned);
                airflow::is_healthy(&url, AirflowVersion::V3_3, AirflowRole::Full).await
            }
            Self::Receiver => receiver::is_healthy(port).await,
            Self::Worker => product::worker_is_healthy(port).await,
            Self::Api => product::api_is_healthy(port).await,
        }
    }

    async fn status(self) -> ComponentStatus {
        let service = self.service();
        if let Some(external) = self.external() {
            let healthy = self.is_healthy(Some(&external), 0).await;
            let address = Some(host_and_port(&external));
            return ComponentStatus { name: service.name, pid: None, address, log: None, healthy };
        }
        match service.running() {
            Some(record) => {
                ours(service, Some(record.process.pid), record.port, self.is_healthy(None, record.port).await)
            }
            None => absent(service),
        }
    }
}

/// Returns the status of every component and of every service that a test started.
pub async fn status() -> Result<Vec<ComponentStatus>> {
    let [postgres, kafka, airflow, receiver, worker, api] = Component::ALL.map(Component::status);
    let (postgres, kafka, airflow, receiver, worker, api) =
        tokio::join!(postgres, kafka, airflow, receiver, worker, api);
    let mut all = vec![postgres, kafka, airflow, receiver, worker, api];
    for service in LocalService::all() {
        let known = all.iter().any(|status| status.name == service.name);
        if let Some(record) = service.running().filter(|_| !known) {
            let healthy = tokio::net::TcpStream::connect(("127.0.0.1", record.port)).await.is_ok();
            all.push(ours(service, Some(record.process.pid), record.port, healthy));
        }
    }
    Ok(all)
}

/// Formats the status as a table.
pub fn table(all: &[ComponentStatus]) -> String {
    let row = |cells: [&str; 5]| {
        let [name, state, pid, address, log] = cells;
        format!("{name:<18} {state:<9} {pid:>8}  {address:<22} {log}").trim_end().to_owned()
    };
    let mut lines = vec![row(["part", "state", "pid", "address", "log"])];
    for status in all {
        let state = match (status.healthy, status.pid) {
            (true, _) => "healthy",
            (false, Some(_)) => "unwell",
            (false, None) => "stopped",
        };
        let pid = status.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        lines.push(row([&status.name, state, &pid, &text(&status.address), &text(&status.log)]));
    }
    lines.join("\n")
}

fn ours(service: LocalService, pid: Option<u32>, port: u16, healthy: bool) -> ComponentStatus {
    let log = Some(service.log().to_string_lossy().into_owned());
    ComponentStatus { name: service.name, pid, address: Some(format!("127.0.0.1:{port}")), log, healthy }
}

fn absent(service: LocalService) -> ComponentStatus {
    let log = service.log();
    let log = log.exists().then(|| log.to_string_lossy().into_owned());
    ComponentStatus { name: service.name, pid: None, address: None, log, healthy: false }
}

/// Returns the host and port of a URL, without credentials. A plain list of addresses is returned as it is.
fn host_and_port(external: &str) -> String {
    match url::Url::parse(external) {
        Ok(url) if url.has_host() => {
            let host = url.host_str().unwrap_or_default();
            url.port_or_known_default().map_or(host.to_owned(), |port| format!("{host}:{port}"))
        }
        _ => external.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_contain_no_password() {
        assert_eq!(host_and_port("postgres://me:secret@db.example:6432/x"), "db.example:6432");
        assert_eq!(host_and_port("https://airflow.example/base"), "airflow.example:443");
        assert_eq!(host_and_port("kafka-1:9092,kafka-2:9092"), "kafka-1:9092,kafka-2:9092");
    }

    #[test]
    fn table_distinguishes_unwell_from_stopped() {
        let part =
            |pid, healthy| ComponentStatus { name: "api".into(), pid, address: None, log: None, healthy };
        let table = table(&[part(Some(7), false), part(None, false), part(None, true)]);
        let states: Vec<&str> =
            table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(states, ["unwell", "stopped", "healthy"]);
    }
}
