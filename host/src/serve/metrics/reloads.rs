//! What is told of attempts to change what is served.

use std::{fmt, sync::Arc, time::UNIX_EPOCH};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::family::counters;
use crate::serve::{Gateway, Outcome};

/// The reloads of this gateway.
pub(super) struct Told(pub(super) Arc<Gateway>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let reloads = self.0.reloads();
        let help = "Looks at gateway.toml and the libraries since the start, by what came of them.";
        let series = Outcome::ALL.map(|outcome| ([("outcome", outcome.word())], reloads.count(outcome)));
        counters(&mut encoder, ["gateway_reloads", help], series.into_iter())?;
        let last = reloads.last();
        let help = "1: all that was on the disk at the last look is served; 0: something was refused, or waits for a restart.";
        let in_effect =
            encoder.encode_descriptor("gateway_reload_in_effect", help, None, MetricType::Gauge)?;
        let is_in_effect = last
            .as_ref()
            .is_none_or(|reload| reload.outcome != Outcome::Refused && reload.waiting.is_empty());
        ConstGauge::new(i64::from(is_in_effect)).encode(in_effect)?;
        let refused =
            ["gateway_reload_refused", "What the last look has refused, by the code of the reason."];
        let mut codes: Vec<&str> =
            last.iter().flat_map(|reload| &reload.refused).map(|one| one.code).collect();
        codes.sort_unstable();
        let rows =
            codes.chunk_by(|one, other| one == other).map(|same| ([("code", same[0])], same.len() as u64));
        super::family::gauges(&mut encoder, refused, rows)?;
        if let Some(reload) = last {
            let help = "When the last look was over, in seconds since 1970.";
            let name = "gateway_reload_last_timestamp_seconds";
            let at = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(reload.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
                .encode(at)?;
        }
        Ok(())
    }
}
