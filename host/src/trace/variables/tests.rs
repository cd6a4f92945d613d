//! Which variables are used, and what is told of those that are not.

use super::*;

fn read(set: &[(&str, &str)]) -> Variables {
    Variables::read(&|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
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
    check(&[AT, (COMPRESSIONS[0], "zstd"), (COMPRESSIONS[1], "gzip")], BOTH.0, BOTH.1, &[COMPRESSIONS[0]]);
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
fn numbers_with_which_nothing_would_work_are_told_and_not_used() {
    let check = |number: &Number, good: &str, bad: &[&str]| {
        let found = read(&[AT, (number.variable, good)]);
        assert_eq!((&found.wrong[..], found.pace == Pace::default()), (&[][..], false), "{good}");
        for bad in bad.iter().chain(&["4000000000", "-1", "5s", "1e3"]) {
            let found = read(&[AT, (number.variable, bad)]);
            assert_eq!((found.wrong.len(), found.pace), (1, Pace::default()), "{}={bad}", number.variable);
        }
    };
    check(&QUEUE, "65536", &["0", "65537"]);
    check(&BATCH, "1", &["0"]);
    check(&DELAY, " 1 ", &["0"]);
    check(&INTERVAL, "10", &["0", "9"]);
    let told = read(&[AT, (QUEUE.variable, "0")]).wrong.swap_remove(0).problem;
    assert_eq!(told, "`0` is no whole number from 1 to 65536; 2048 is used, the default");
    let both = read(&[AT, (TIMEOUT, "0"), (TIMEOUTS[3].variable, "0")]);
    assert_eq!((both.wrong.len(), both.traces.expect("it is sent").timeout), (2, TIMEOUT_DEFAULT));
}

#[test]
fn a_sampler_that_takes_nothing_is_known() {
    assert!(read(&[AT, (SAMPLER, "always_off")]).is_never_sampled);
    assert!(!read(&[AT, (SAMPLER, "parentbased_always_off")]).is_never_sampled);
}
