//! What is told of the audit log.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::serve::Gateway;

/// The audit log of this gateway, if it keeps one.
pub(super) struct Recorded(pub(super) Arc<Gateway>);

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

impl Collector for Recorded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let audit = self.0.settings().audit;
        if !audit.is_on() {
            return Ok(());
        }
        let help = "Calls and refusals that are not in the audit log, since it was opened.";
        let lost = encoder.encode_descriptor("gateway_audit_lines_lost", help, None, MetricType::Counter)?;
        ConstCounter::new(audit.lost()).encode(lost)?;
        let help = "1: the audit log cannot be written at present.";
        let failing = encoder.encode_descriptor("gateway_audit_failing", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(audit.is_failing())).encode(failing)
    }
}
