//! The tests' collector of OpenTelemetry as a program: `collector ADDRESS`. Prints traces as trees, as they come, until it is
//! killed.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tests::{Collector, collector};

/// Spans of one trace may come one after the other. Longer than a gateway keeps them that was told nothing else.
const TOGETHER: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("usage: collector ADDRESS")?;
    let address: SocketAddr = address.parse().context("the address is not one")?;
    let collector = Collector::start_at(address).await;
    println!("OTEL_EXPORTER_OTLP_ENDPOINT={}", collector.endpoint());
    loop {
        collector.more().await;
        tokio::time::sleep(TOGETHER).await;
        let spans = collector.take_spans();
        if !spans.is_empty() {
            println!("\n{}", collector::listing_for_people(&spans).trim_end());
        }
    }
}
