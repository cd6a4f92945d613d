//! Answers every request with 200 at once: where `cargo xtask bench` has spans and durations sent by OTLP/HTTP. Prints its URL,
//! and ends when it is killed.

use anyhow::Result;
use axum::{Router, body::Bytes};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    // An empty body is an answer that refuses nothing. The request is read to its end, so that the
    // connection can be used again.
    let answer = async |_: Bytes| [("content-type", "application/x-protobuf")];
    Ok(axum::serve(listener, Router::new().fallback(answer)).await?)
}
