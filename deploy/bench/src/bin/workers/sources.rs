//! Sources in memory: of a hundred, five never answer, five answer every request with 500, and five refuse
//! the login. The others answer as an Airflow whose DAGs do not run.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use testkit::FakeAirflow;

const DAGS: usize = 5;

pub(crate) struct Sources {
    healthy: FakeAirflow,
    faulty: String,
}

impl Sources {
    pub(crate) async fn start() -> Self {
        let router = Router::new()
            .route("/hanging/{*path}", axum::routing::any(hang))
            .route("/failing/{*path}", axum::routing::any(async || StatusCode::INTERNAL_SERVER_ERROR))
            .route("/refusing/{*path}", axum::routing::any(async || StatusCode::UNAUTHORIZED));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let faulty = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { healthy: FakeAirflow::start(DAGS).await, faulty }
    }

    /// The kind of the source of this number, and its address.
    pub(crate) fn url(&self, number: usize) -> (&'static str, String) {
        let kind = match number % 20 {
            0 => "hanging",
            1 => "failing",
            2 => "refusing",
            _ => return ("healthy", format!("{}/{number}", self.healthy.url)),
        };
        (kind, format!("{}/{kind}/{number}", self.faulty))
    }
}

async fn hang() -> Response {
    std::future::pending::<()>().await;
    StatusCode::OK.into_response()
}
