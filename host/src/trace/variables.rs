//! What the standard variables ask for. Pure: they are handed in.
//!
//! In:   <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! Out:  [`Variables`]: which signals are exported, and what of the variables cannot be used.
//! Never: the value of a header or the user of a URL in what is told.
//!
//! What the SDK reads by itself (headers, compression) is only checked here: it takes its default for what it cannot read, and says
//! so to nobody. It takes any number, and with some it would end the process or never rest: these it is given.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, Uri};

/// What the variables ask for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Variables {
    /// Where traces are sent. `None`: they are not.
    pub(super) traces: Option<Destination>,
    /// Where metrics are sent.
    pub(super) metrics: Option<Destination>,
    /// No span is ever sampled.
    pub(super) is_never_sampled: bool,
    /// How much is sent at once, and how often.
    pub(super) pace: Pace,
    /// What cannot be used, in the order in which it was found.
    pub(super) wrong: Vec<Wrong>,
}

/// Where a signal is sent.
#[derive(Debug, PartialEq)]
pub(super) struct Destination {
    /// A URL to show.
    pub(super) endpoint: String,
    /// How long the collector may take to answer.
    pub(super) timeout: Duration,
}

/// How much is sent at once, and how often.
#[derive(Debug, PartialEq)]
pub(super) struct Pace {
    /// Most spans that wait. There is room for all of them from the start.
    pub(super) queue: usize,
    /// Most spans of one request.
    pub(super) batch: usize,
    /// Between two requests with spans.
    pub(super) delay: Duration,
    /// Between two requests with metrics.
    pub(super) interval: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self::of(|number| number.default)
    }
}

impl Pace {
    fn of(mut read: impl FnMut(&Number) -> u32) -> Self {
        let mut millis = |number| Duration::from_millis(read(number).into());
        let (delay, interval) = (millis(&DELAY), millis(&INTERVAL));
        let mut count = |number| usize::try_from(read(number)).unwrap_or(usize::MAX);
        Self { queue: count(&QUEUE), batch: count(&BATCH), delay, interval }
    }
}

/// A variable that cannot be used.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub(super) variable: &'static str,
    /// What is wrong, and what to do.
    pub(super) problem: String,
}

/// The variables of one signal; the general ones hold where these are not set.
struct Signal {
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    headers: &'static str,
    timeout: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal {
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    path: "v1/traces",
};
const METRICS: Signal = Signal {
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    path: "v1/metrics",
};
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
/// If no variable says so.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// In milliseconds.
const DAY: u32 = 24 * 60 * 60 * 1000;

/// A variable that is a whole number.
struct Number {
    variable: &'static str,
    /// The standard's.
    default: u32,
    range: RangeInclusive<u32>,
}

/// 65,536 spans that wait take some 23 MiB, whether there are any or not.
const QUEUE: Number = Number { variable: "OTEL_BSP_MAX_QUEUE_SIZE", default: 2048, range: 1..=65_536 };
const BATCH: Number = Number { variable: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default: 512, range: 1..=65_536 };
const DELAY: Number = Number { variable: "OTEL_BSP_SCHEDULE_DELAY", default: 5000, range: 1..=DAY };
const INTERVAL: Number = Number { variable: "OTEL_METRIC_EXPORT_INTERVAL", default: 60_000, range: 10..=DAY };

/// The times a collector has, which [`Destination`] holds already; the last of them the SDK leaves alone.
const TIMEOUTS: [Number; 4] = [
    Number { variable: TIMEOUT, default: 10_000, range: 1..=DAY },
    Number { variable: TRACES.timeout, default: 10_000, range: 1..=DAY },
    Number { variable: METRICS.timeout, default: 10_000, range: 1..=DAY },
    Number { variable: "OTEL_BSP_EXPORT_TIMEOUT", default: 30_000, range: 1..=DAY },
];
const COMPRESSIONS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
];

/// Values of variables; one that is empty is as one that is not set.
struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The first of these that is set, and its value.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }
}

impl Variables {
    pub(super) fn read(get: &dyn Fn(&str) -> Option<String>) -> Self {
        let env = Env(get);
        let mut read = Self::default();
        match env.get(DISABLED) {
            Some(value) if value.eq_ignore_ascii_case("true") => return read,
            Some(value) if !value.eq_ignore_ascii_case("false") => {
                read.wrong(DISABLED, format!("`{value}` is neither `true` nor `false`; taken for `false`"));
            }
            _ => {}
        }
        read.traces = read.destination(&env, &TRACES);
        read.metrics = read.destination(&env, &METRICS);
        if read.traces.is_some() {
            read.sampler(&env);
        }
        if read.traces.is_some() || read.metrics.is_some() {
            read.details(&env);
        }
        read
    }

    fn wrong(&mut self, variable: &'static str, problem: String) {
        self.wrong.push(Wrong { variable, problem });
    }

    fn destination(&mut self, env: &Env<'_>, signal: &Signal) -> Option<Destination> {
        let endpoint = self.endpoint(env, signal)?;
        let timeout = env.first([signal.timeout, TIMEOUT]).and_then(|(_, value)| value.parse::<u32>().ok());
        let timeout = timeout.filter(|timeout| (1..=DAY).contains(timeout));
        let timeout = timeout.map_or(TIMEOUT_DEFAULT, |timeout| Duration::from_millis(timeout.into()));
        Some(Destination { endpoint, timeout })
    }

    /// Where `signal` is sent, if it is asked for and can be.
    fn endpoint(&mut self, env: &Env<'_>, signal: &Signal) -> Option<String> {
        let endpoint = env.first([signal.endpoint, ENDPOINT]);
        let is_wanted = match env.get(signal.exporter) {
            Some(named) => self.is_otlp(signal.exporter, &named),
            None => endpoint.is_some(),
        };
        if !is_wanted {
            return None;
        }
        if let Some((variable, protocol)) = env.first([signal.protocol, PROTOCOL])
            && protocol != "http/protobuf"
        {
            let problem = format!(
                "`{protocol}` is not spoken here, so nothing is sent; leave the variable out, or set `http/protobuf`, and \
                 name the collector's OTLP/HTTP endpoint, usually at port 4318"
            );
            self.wrong(variable, problem);
            return None;
        }
        let Some((variable, endpoint)) = endpoint else {
            return Some(format!("http://localhost:4318/{}", signal.path));
        };
        match shown(&endpoint) {
            Some(shown) if variable == ENDPOINT => {
                Some(format!("{}/{}", shown.trim_end_matches('/'), signal.path))
            }
            Some(shown) => Some(shown),
            None => {
                let problem = "it is not an http or https URL, so nothing is sent; write it as in `http://127.0.0.1:4318`";
                self.wrong(variable, problem.to_owned());
                None
            }
        }
    }

    /// Whether `otlp` is among the exporters that are named.
    fn is_otlp(&mut self, variable: &'static str, named: &str) -> bool {
        let named: Vec<_> = named.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        for other in named.iter().filter(|name| !["otlp", "none"].contains(name)) {
            self.wrong(variable, format!("there is no exporter `{other}` here; set `otlp` or `none`"));
        }
        named.contains(&"otlp")
    }

    fn sampler(&mut self, env: &Env<'_>) {
        let Some(sampler) = env.get(SAMPLER) else { return };
        match sampler.as_str() {
            "always_off" => self.is_never_sampled = true,
            "always_on" | "parentbased_always_on" | "parentbased_always_off" => {}
            "traceidratio" | "parentbased_traceidratio" => {
                let ratio = env.get(SAMPLER_ARG).and_then(|ratio| ratio.parse::<f64>().ok());
                if !ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio)) {
                    let problem =
                        format!("`{sampler}` takes a number from 0 to 1; every trace is sampled without one");
                    self.wrong(SAMPLER_ARG, problem);
                }
            }
            _ => {
                let problem = format!(
                    "`{sampler}` is not known here and `parentbased_always_on` is used; set that, `parentbased_traceidratio` \
                     with {SAMPLER_ARG}, or another of the standard's that need no server"
                );
                self.wrong(SAMPLER, problem);
            }
        }
    }

    /// What a variable says, or its default.
    fn number(&mut self, env: &Env<'_>, number: &Number) -> u32 {
        let Number { variable, default, range } = number;
        let Some(value) = env.get(variable) else { return *default };
        match value.parse() {
            Ok(value) if range.contains(&value) => value,
            _ => {
                let (least, most) = (range.start(), range.end());
                let problem = format!(
                    "`{value}` is no whole number from {least} to {most}; {default} is used, the default"
                );
                self.wrong(variable, problem);
                *default
            }
        }
    }

    /// How to send, where that is the same for both signals.
    fn details(&mut self, env: &Env<'_>) {
        self.pace = Pace::of(|number| self.number(env, number));
        for timeout in &TIMEOUTS {
            self.number(env, timeout);
        }
        for variable in COMPRESSIONS {
            if let Some(value) = env.get(variable)
                && !["gzip", "none"].iter().any(|known| value.eq_ignore_ascii_case(known))
            {
                self.wrong(variable, format!("`{value}` is not known here; set `gzip` or `none`"));
            }
        }
        for variable in [HEADERS, TRACES.headers, METRICS.headers] {
            let is_header = |pair: &str| {
                let Some((name, value)) = pair.split_once('=') else { return false };
                HeaderName::from_str(name.trim()).is_ok() && HeaderValue::from_str(value.trim()).is_ok()
            };
            let pairs = env.get(variable).unwrap_or_default();
            if !pairs.split_terminator(',').all(is_header) {
                let problem = "a part of it is not `name=value` and is left out; separate headers by `,` and write a `,` in \
                               a value as `%2C`";
                self.wrong(variable, problem.to_owned());
            }
        }
    }
}

/// An http URL as it may be shown: without the user and the password that may be in it, and without a query.
fn shown(endpoint: &str) -> Option<String> {
    let uri: Uri = endpoint.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority()?;
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{}{port}{}", authority.host(), uri.path()))
}

#[cfg(test)]
mod tests;
