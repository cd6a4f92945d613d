//! What is told of the process, under the names that every client library of Prometheus uses.

use std::{fmt, io};

use procfs::{process::LimitValue, ticks_per_second};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use super::family::gauge;

/// This process, as Linux sees it.
#[derive(Debug)]
pub(super) struct Process;

/// Readings of one moment.
struct Readings {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: i64,
    open_files: u64,
    /// `None`: as many as it likes.
    most_files: Option<u64>,
    started_seconds: f64,
}

impl Readings {
    fn take() -> Result<Self, procfs::ProcError> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let ticks = ticks_per_second() as f64;
        let most = process.limits()?.max_open_files.soft_limit;
        Ok(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads,
            open_files: process.fd_count()? as u64,
            most_files: match most {
                LimitValue::Value(most) => Some(most),
                LimitValue::Unlimited => None,
            },
            started_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
        })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let readings = match Readings::take() {
            Ok(readings) => readings,
            Err(error) => {
                // The rest is told all the same: somebody may have good reasons to hide /proc.
                let error = io::Error::other(error);
                tracing::debug!(%error, "process figures cannot be read");
                return Ok(());
            }
        };
        let encoder = &mut encoder;
        let (name, help) = ("process_cpu_seconds", "Processor time of the process, in seconds.");
        let cpu = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(readings.cpu_seconds).encode(cpu)?;
        gauge(encoder, ["process_resident_memory_bytes", "Memory that is in use."], readings.resident_bytes)?;
        gauge(
            encoder,
            ["process_virtual_memory_bytes", "Address space that is in use."],
            readings.virtual_bytes,
        )?;
        gauge(encoder, ["process_threads", "Threads, those of plugins among them."], readings.threads)?;
        gauge(encoder, ["process_open_fds", "Open file descriptors."], readings.open_files)?;
        if let Some(most) = readings.most_files {
            gauge(encoder, ["process_max_fds", "Most file descriptors that may be open."], most)?;
        }
        let started = ["process_start_time_seconds", "When the process was started, in seconds since 1970."];
        gauge(encoder, started, readings.started_seconds)
    }
}
