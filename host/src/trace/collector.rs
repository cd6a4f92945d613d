//! The way to the collector: an HTTP client that notices when it does not answer as it should.
//!
//! In:   batches, on the exporter's own threads.
//! Out:  the collector's answers; a line in the log when it begins to fail, now and then while it does, and when it is back.
//! Never: follows a redirect, which could take the headers, and what is in them, elsewhere.

use std::{
    error::Error,
    future::Future,
    iter,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::{blocking::Client, redirect::Policy};

/// How often the log tells of a collector that goes on failing.
const TOLD_EVERY: Duration = Duration::from_secs(5 * 60);

/// An HTTP client for one signal.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    /// `traces` or `metrics`.
    signal: &'static str,
    /// For the log.
    endpoint: String,
    trouble: Mutex<Trouble>,
}

/// How it has been going.
#[derive(Debug, Default)]
struct Trouble {
    /// How often nothing came of it since it was last told.
    failures: u64,
    told: Option<Instant>,
    /// What was told last is that it fails.
    is_told_failing: bool,
}

/// What the log is to say.
#[derive(Debug, PartialEq, Eq)]
enum Tell {
    Nothing,
    Fails { failures: u64 },
    Works,
}

impl Trouble {
    fn failed(&mut self, now: Instant) -> Tell {
        self.failures += 1;
        // A collector that comes and goes is not told of more often than one that stays away.
        if self.told.is_some_and(|told| now.duration_since(told) < TOLD_EVERY) {
            return Tell::Nothing;
        }
        (self.told, self.is_told_failing) = (Some(now), true);
        Tell::Fails { failures: std::mem::take(&mut self.failures) }
    }

    fn worked(&mut self) -> Tell {
        if std::mem::take(&mut self.is_told_failing) { Tell::Works } else { Tell::Nothing }
    }
}

impl Collector {
    /// In no runtime: the client has one of its own.
    pub(super) fn new(
        signal: &'static str,
        endpoint: String,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        // An error means that there is one already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = Client::builder().redirect(Policy::none()).timeout(timeout);
        // Plain HTTP needs no certificates of authorities, and a container may have none.
        let is_plain = endpoint.starts_with("http://");
        let client = if is_plain { builder.tls_certs_only([]).build() } else { builder.build() }?;
        Ok(Self { client, signal, endpoint, trouble: Mutex::default() })
    }

    fn noted(&self, problem: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = match problem {
            Some(_) => trouble.failed(Instant::now()),
            None => trouble.worked(),
        };
        drop(trouble);
        let (signal, endpoint) = (self.signal, self.endpoint.as_str());
        match tell {
            Tell::Nothing => {}
            Tell::Fails { failures } => {
                tracing::warn!(signal, endpoint, problem, failures, "collector does not take telemetry");
            }
            Tell::Works => tracing::info!(signal, endpoint, "collector takes telemetry again"),
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'life, 'sent>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'life: 'sent,
        Self: 'sent,
    {
        Box::pin(async move {
            let sent = self.client.send_bytes(request).await;
            self.noted(match &sent {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("it answers {}", answer.status())),
                Err(error) => Some(reason(&**error)),
            });
            sent
        })
    }
}

/// Why, in full, and without the URL, which may have a password in it.
fn reason(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let causes = causes(error.source());
    if causes.is_empty() { "it cannot be asked".to_owned() } else { causes.join(": ") }
}

/// `error`, then its cause, and so on.
pub(super) fn causes(error: Option<&(dyn Error + 'static)>) -> Vec<String> {
    iter::successors(error, |&error| error.source()).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_down_is_told_once_in_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut trouble = Trouble::default();
        assert_eq!(trouble.worked(), Tell::Nothing);
        assert_eq!(trouble.failed(at(0)), Tell::Fails { failures: 1 });
        assert_eq!(trouble.failed(at(10)), Tell::Nothing);
        assert_eq!(trouble.failed(at(20)), Tell::Nothing);
        assert_eq!(trouble.failed(at(300)), Tell::Fails { failures: 3 });
        assert_eq!(trouble.worked(), Tell::Works);
        assert_eq!(trouble.worked(), Tell::Nothing);
        assert_eq!(trouble.failed(at(310)), Tell::Nothing);
        assert_eq!(trouble.worked(), Tell::Nothing);
        assert_eq!(trouble.failed(at(900)), Tell::Fails { failures: 2 });
    }
}
