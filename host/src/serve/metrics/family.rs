//! Families of series, written from numbers that live elsewhere.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::serve::seen::{BOUNDS, Counted};

/// A series of a family: its labels, in order, and its value.
pub(super) type Series<'a, const LABELS: usize, V> = ([(&'static str, &'a str); LABELS], V);

pub(super) fn gauges<'a, const LABELS: usize, V>(
    encoder: &mut DescriptorEncoder<'_>,
    [name, help]: [&str; 2],
    series: impl Iterator<Item = Series<'a, LABELS, V>>,
) -> fmt::Result
where
    ConstGauge<V>: EncodeMetric,
{
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// `name` is without `_total`, which the encoder adds.
pub(super) fn counters<'a, const LABELS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    [name, help]: [&str; 2],
    series: impl Iterator<Item = Series<'a, LABELS, u64>>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Times in seconds.
pub(super) fn histograms<'a, const LABELS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    [name, help]: [&str; 2],
    series: impl Iterator<Item = Series<'a, LABELS, Counted>>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, counted) in series {
        let buckets: Vec<_> = BOUNDS.into_iter().zip(counted.buckets).collect();
        let (sum, count) = (counted.sum_seconds, counted.count());
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

/// One number without labels.
pub(super) fn gauge<V>(encoder: &mut DescriptorEncoder<'_>, [name, help]: [&str; 2], value: V) -> fmt::Result
where
    ConstGauge<V>: EncodeMetric,
{
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
