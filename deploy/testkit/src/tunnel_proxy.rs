//! An HTTP proxy that opens tunnels (CONNECT), as clients request them to servers with TLS, and records
//! their targets.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// The maximum size of the head of a request, in bytes.
const HEAD_LIMIT: usize = 8 * 1024;

/// The running proxy.
pub struct TunnelProxy {
    /// The URL of the proxy.
    pub url: String,
    opened: Arc<Mutex<Vec<String>>>,
}

impl TunnelProxy {
    /// Starts a proxy that opens a tunnel to every address.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let opened = Arc::<Mutex<Vec<String>>>::default();
        let record = opened.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(open(client, record.clone()));
            }
        });
        Self { url, opened }
    }

    /// The targets of the tunnels so far, as host:port.
    pub fn opened(&self) -> Vec<String> {
        self.opened.lock().unwrap().clone()
    }
}

async fn open(mut client: TcpStream, opened: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(head.len() < HEAD_LIMIT, "the head of a request is short");
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let target = target.unwrap_or_else(|| panic!("a tunnel is requested: {head}")).to_owned();
    let mut server = TcpStream::connect(&target).await.unwrap();
    opened.lock().unwrap().push(target);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
