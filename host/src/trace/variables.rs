//! What the standard variables ask for. Pure: they are handed in.
//!
//! In:   <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! Out:  [`Variables`]: which signals are exported, and what of the variables cannot be used.
//! Never: the value of a header or the user of a URL in what is told.
//!
//! What the SDK reads by itself (batches, timeouts, headers) is only checked here: it takes its default for what it cannot read,
//! and says so to nobody.

use std::{str::FromStr, time::Duration};

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

/// Whole numbers, most of them milliseconds.
const NUMBERS: [&str; 8] = [
    TIMEOUT,
    TRACES.timeout,
    METRICS.timeout,
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
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

    /// What the SDK reads by itself.
    fn details(&mut self, env: &Env<'_>) {
        for variable in NUMBERS {
            if let Some(value) = env.get(variable)
                && value.parse::<u32>().is_err()
            {
                self.wrong(
                    variable,
                    format!("`{value}` is not a whole number; the standard's default is used"),
                );
            }
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
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Variables {
        Variables::read(&|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// What is sent where, and the names of the variables that cannot be used.
    fn check(set: &[(&str, &str)], traces: Option<&str>, metrics: Option<&str>, wrong: &[&str]) {
        let found = read(set);
        let sent = |to: &Option<Destination>| to.as_ref().map(|to| to.endpoint.clone());
        let expected = (traces.map(str::to_owned), metrics.map(str::to_owned));
        assert_eq!((sent(&found.traces), sent(&found.metrics)), expected, "{set:?}");
        let named: Vec<_> = found.wrong.iter().map(|wrong| wrong.variable).collect();
        assert_eq!(named, wrong, "{set:?}: {:?}", found.wrong);
    }

    const AT: (&str, &str) = (ENDPOINT, "http://otel:4318/");
    const BOTH: (Option<&str>, Option<&str>) =
        (Some("http://otel:4318/v1/traces"), Some("http://otel:4318/v1/metrics"));

    #[test]
    fn nothing_is_sent_unless_it_is_asked_for() {
        check(&[], None, None, &[]);
        check(&[(ENDPOINT, "  "), (SAMPLER, "always_on"), (PROTOCOL, "grpc")], None, None, &[]);
        check(&[AT], BOTH.0, BOTH.1, &[]);
        check(&[AT, (DISABLED, "True")], None, None, &[]);
        check(&[AT, (DISABLED, "false")], BOTH.0, BOTH.1, &[]);
        check(&[AT, (DISABLED, "1")], BOTH.0, BOTH.1, &[DISABLED]);
        check(&[AT, (METRICS.exporter, "none")], BOTH.0, None, &[]);
        check(&[AT, (TRACES.exporter, "console")], None, BOTH.1, &[TRACES.exporter]);
        check(&[AT, (TRACES.exporter, "otlp, console")], BOTH.0, BOTH.1, &[TRACES.exporter]);
        check(&[(TRACES.exporter, "otlp")], Some("http://localhost:4318/v1/traces"), None, &[]);
        // An endpoint of one signal is used as it is.
        check(&[(METRICS.endpoint, "https://otel/m")], None, Some("https://otel/m"), &[]);
    }

    #[test]
    fn what_cannot_be_used_is_told_with_what_to_do() {
        check(&[AT, (PROTOCOL, "grpc")], None, None, &[PROTOCOL, PROTOCOL]);
        check(&[AT, (PROTOCOL, "grpc"), (TRACES.protocol, "http/protobuf")], BOTH.0, None, &[PROTOCOL]);
        check(&[(ENDPOINT, "otel:4318"), (METRICS.exporter, "none")], None, None, &[ENDPOINT]);
        check(&[AT, (SAMPLER, "xray")], BOTH.0, BOTH.1, &[SAMPLER]);
        check(&[AT, (SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")], BOTH.0, BOTH.1, &[SAMPLER_ARG]);
        check(&[AT, (SAMPLER, "traceidratio"), (SAMPLER_ARG, "0.1")], BOTH.0, BOTH.1, &[]);
        check(&[AT, (NUMBERS[3], "5s")], BOTH.0, BOTH.1, &[NUMBERS[3]]);
        check(
            &[AT, (COMPRESSIONS[0], "zstd"), (COMPRESSIONS[1], "gzip")],
            BOTH.0,
            BOTH.1,
            &[COMPRESSIONS[0]],
        );
        check(&[AT, (HEADERS, "a=b,c=d%2Ce")], BOTH.0, BOTH.1, &[]);
        check(&[AT, (HEADERS, "Bearer s3cret")], BOTH.0, BOTH.1, &[HEADERS]);
        let told = read(&[AT, (PROTOCOL, "grpc")]).wrong.swap_remove(0).problem;
        assert!(told.contains("`grpc`") && told.contains("4318"), "{told}");
    }

    #[test]
    fn no_secret_is_told() {
        let found = read(&[(ENDPOINT, "http://ada:s3cret@otel:4318?key=s3cret"), (HEADERS, "s3cret")]);
        assert_eq!(found.traces.as_ref().map(|traces| traces.endpoint.as_str()), BOTH.0);
        let bad = read(&[(ENDPOINT, "ftp://ada:s3cret@otel")]);
        assert!(!format!("{found:?}{bad:?}").contains("s3cret"), "{found:?}{bad:?}");
    }

    #[test]
    fn the_time_a_collector_has_is_its_signals_own_or_that_of_both() {
        let check = |set: &[(&str, &str)], traces: u64, metrics: u64| {
            let found = read(&[&[AT], set].concat());
            let timeout = |to: Option<Destination>| to.expect("it is sent").timeout.as_millis();
            assert_eq!(
                (timeout(found.traces), timeout(found.metrics)),
                (traces.into(), metrics.into()),
                "{set:?}"
            );
        };
        check(&[], 10_000, 10_000);
        check(&[(TIMEOUT, "500"), (TRACES.timeout, "20")], 20, 500);
        check(&[(TIMEOUT, "soon")], 10_000, 10_000);
    }

    #[test]
    fn a_sampler_that_takes_nothing_is_known() {
        assert!(read(&[AT, (SAMPLER, "always_off")]).is_never_sampled);
        assert!(!read(&[AT, (SAMPLER, "parentbased_always_off")]).is_never_sampled);
    }
}
