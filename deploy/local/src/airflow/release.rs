//! Differences between releases of Airflow: installation, processes, and settings of intervals and timeouts.
//! The settings that all releases share are in `programs`.

use std::path::PathBuf;

use anyhow::Result;

use super::{AirflowApi, AirflowRole};
use crate::{paths, python};

/// A release of Airflow that can be started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowVersion {
    /// 2.11.2, the last release of Airflow 2.
    V2_11,
    /// 3.1.8, whose lists have no cursor.
    V3_1,
    /// 3.3.2, the newest release that is tested.
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

    /// Returns the REST API of the release.
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

    /// Returns the supported CPython versions. On CPython 3.11 the API server of Airflow 3 crashes under
    /// repeated list requests; on 3.13 Airflow 2 does not start.
    fn pythons(self) -> &'static [&'static str] {
        match self {
            Self::V2_11 => &["3.11", "3.12"],
            Self::V3_1 | Self::V3_3 => &["3.12", "3.13"],
        }
    }

    /// Returns a shell script that runs the processes. When one of them ends, the script ends them all.
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

    /// Returns the processes that the health report covers, apart from the API server.
    pub(super) fn reporting_processes(self) -> &'static [&'static str] {
        match self.api() {
            AirflowApi::V1 => &["scheduler"],
            AirflowApi::V2 => &["scheduler", "dag_processor"],
        }
    }

    /// Returns settings with which one parser detects changes of DAG files within seconds, and with timeouts
    /// that are long enough for a busy machine.
    pub(super) fn intervals_and_timeouts(self) -> &'static [(&'static str, &'static str)] {
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
