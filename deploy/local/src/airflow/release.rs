//! What differs from one release of Airflow to the next: how it is installed, which processes it is made of, and how
//! it is told to be light and quick. What all of them are told alike is in `airflow`.

use std::path::PathBuf;

use anyhow::Result;

use super::{AirflowApi, AirflowRole};
use crate::{paths, python};

/// A release of Airflow that can be started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowVersion {
    /// 2.11.2, the last of Airflow 2.
    V2_11,
    /// 3.1.8, whose lists have no cursor.
    V3_1,
    /// 3.3.2, the newest one tried.
    V3_3,
}

impl AirflowVersion {
    pub(super) fn number(self) -> &'static str {
        match self {
            Self::V2_11 => "2.11.2",
            Self::V3_1 => "3.1.8",
            Self::V3_3 => "3.3.2",
        }
    }

    /// The REST API it speaks.
    pub(super) fn api(self) -> AirflowApi {
        match self {
            Self::V2_11 => AirflowApi::V1,
            Self::V3_1 | Self::V3_3 => AirflowApi::V2,
        }
    }

    pub(super) async fn environment(self) -> Result<PathBuf> {
        let requirements = paths::asset(&format!("airflow/requirements-{}.txt", self.number()));
        python::environment(&format!("airflow-venv-{}", self.number()), self.pythons(), &requirements).await
    }

    /// Airflow 3's API server crashes on CPython 3.11 under repeated list requests, Airflow 2 does not start on 3.13.
    fn pythons(self) -> &'static [&'static str] {
        match self {
            Self::V2_11 => &["3.11", "3.12"],
            Self::V3_1 | Self::V3_3 => &["3.12", "3.13"],
        }
    }

    /// As a shell runs them: when one of the processes ends, all do, for half an Airflow is no Airflow.
    pub(super) fn processes(self, role: AirflowRole) -> &'static str {
        match (self.api(), role) {
            (AirflowApi::V1, AirflowRole::ApiOnly) => "exec airflow webserver",
            (AirflowApi::V2, AirflowRole::ApiOnly) => "exec airflow api-server",
            (AirflowApi::V1, AirflowRole::Full | AirflowRole::Blank) => {
                "(airflow scheduler --skip-serve-logs; kill 0) &
                 (airflow triggerer --skip-serve-logs; kill 0) &
                 (airflow webserver; kill 0) &
                 wait"
            }
            (AirflowApi::V2, AirflowRole::Full | AirflowRole::Blank) => {
                "(airflow scheduler --skip-serve-logs; kill 0) &
                 (airflow dag-processor; kill 0) &
                 (airflow triggerer --skip-serve-logs; kill 0) &
                 (airflow api-server; kill 0) &
                 wait"
            }
        }
    }

    /// The parts that say of themselves whether they are well.
    pub(super) fn parts(self) -> &'static [&'static str] {
        match self.api() {
            AirflowApi::V1 => &["scheduler"],
            AirflowApi::V2 => &["scheduler", "dag_processor"],
        }
    }

    /// Changes of DAG files are seen within seconds, by one parser; and where much else goes on, nothing is given up
    /// because it was slow.
    pub(super) fn pace(self) -> &'static [(&'static str, &'static str)] {
        match self.api() {
            AirflowApi::V1 => &[
                ("SCHEDULER__PARSING_PROCESSES", "1"),
                ("SCHEDULER__DAG_DIR_LIST_INTERVAL", "2"),
                ("SCHEDULER__MIN_FILE_PROCESS_INTERVAL", "5"),
                ("SCHEDULER__STALE_DAG_THRESHOLD", "30"),
                ("SCHEDULER__PARSING_CLEANUP_INTERVAL", "5"),
                ("SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD", "1800"),
                ("CORE__DAG_FILE_PROCESSOR_TIMEOUT", "600"),
            ],
            AirflowApi::V2 => &[
                ("DAG_PROCESSOR__PARSING_PROCESSES", "1"),
                ("DAG_PROCESSOR__REFRESH_INTERVAL", "2"),
                ("DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL", "1"),
                ("DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "10"),
                ("DAG_PROCESSOR__STALE_DAG_THRESHOLD", "30"),
                ("SCHEDULER__PARSING_CLEANUP_INTERVAL", "5"),
                ("SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", "1800"),
                ("DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT", "600"),
                ("WORKERS__EXECUTION_API_TIMEOUT", "120"),
            ],
        }
    }
}
