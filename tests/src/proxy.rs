//! A load balancer in its simplest form: each connection goes to the next gateway.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Passes connections on in turn. Ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, in front of these gateways, named by their URLs.
    pub async fn start(gateways: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let behind: Vec<String> =
            gateways.iter().map(|url| url.trim_start_matches("http://").to_owned()).collect();
        let task = tokio::spawn(async move {
            for next in behind.iter().cycle() {
                let Ok((mut client, _)) = listener.accept().await else { return };
                let mut gateway = TcpStream::connect(next).await.expect("the gateway listens");
                // A client that goes away is no error here.
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut gateway).await });
            }
        });
        Self { address, task }
    }

    /// Its URL, without a path.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
