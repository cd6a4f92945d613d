//! Limits, by a clock that goes on only when it is told to.

use std::thread;

use governor::{clock::FakeRelativeClock, state::keyed::ShrinkableKeyedStateStore as _};
use http::HeaderMap;

use super::*;
use crate::config::ServerName;

const ADA: About<'_> = About {
    principal: "key:ada",
    is_named: true,
    address: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))),
    server: "greet",
    tool: Some("echoHai"),
};

/// `calls` in `seconds`, all of which may come at once.
fn table(name: &str, key: RateKey, calls: u32, seconds: u64) -> RateLimit {
    let calls = calls.try_into().expect("the test's own number");
    let (name, window) = (name.into(), Duration::from_secs(seconds));
    RateLimit { name, key, calls, window, burst: calls, servers: Vec::new(), tools: Vec::new() }
}

fn rates(tables: &[RateLimit]) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Rates::with_clock(tables, clock.clone()), clock)
}

/// A limit of its own number of keys, one call a minute each.
fn small(keys_max: usize) -> (Limit<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limit::new(&table("a", RateKey::Address, 1, 60), keys_max, clock.clone()), clock)
}

/// How many calls are let through at once, up to a hundred.
fn passes(rates: &Rates<FakeRelativeClock>, call: About<'_>) -> usize {
    (0..100).take_while(|_| rates.check(&call).is_ok()).count()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn headers(write: impl Fn(&mut HeaderMap)) -> String {
    let mut headers = HeaderMap::new();
    write(&mut headers);
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\n", value.to_str().expect("text"))
    };
    headers.iter().map(line).collect()
}

#[test]
fn a_burst_passes_and_then_one_call_at_a_time() {
    let (rates, clock) = rates(&[table("per-principal", RateKey::Principal, 6, 60)]);
    assert_eq!(passes(&rates, ADA), 6);
    let refused = rates.check(&ADA).expect_err("it is used up");
    assert_eq!((refused.name(), refused.retry_after()), ("per-principal", seconds(10)));
    clock.advance(seconds(7));
    let refused = rates.check(&ADA).expect_err("it is used up");
    assert_eq!(refused.retry_after(), seconds(3));
    assert_eq!(refused.to_string(), "limit `per-principal` (6 calls in 60s) is used up; try again in 3 s");
    clock.advance(seconds(3));
    assert_eq!(passes(&rates, ADA), 1);
    clock.advance(seconds(60));
    assert_eq!(passes(&rates, ADA), 6);
}

#[test]
fn a_burst_may_be_smaller_and_larger_than_what_a_window_lets_through() {
    for (burst, in_the_next_minute) in [(2, 2), (100, 60)] {
        let burst = NonZeroU32::new(burst).expect("the test's own number");
        let (rates, clock) = rates(&[RateLimit { burst, ..table("a", RateKey::Server, 60, 60) }]);
        assert_eq!(passes(&rates, ADA), burst.get() as usize);
        clock.advance(seconds(60));
        assert_eq!(passes(&rates, ADA), in_the_next_minute);
    }
}

#[test]
fn callers_with_a_name_are_counted_by_it_and_others_by_their_address() {
    let from = |address: &str| About { address: address.parse().ok(), ..ADA };
    let nobody = |address: &str| About { principal: "anonymous", is_named: false, ..from(address) };
    let check = |key: RateKey, one: About<'_>, other: About<'_>, together: bool| {
        let (rates, _) = rates(&[table("a", key, 1, 60)]);
        assert_eq!(passes(&rates, one), 1);
        assert_eq!(passes(&rates, other), usize::from(!together), "{key:?} {one:?} {other:?}");
    };
    use RateKey::{Address, Principal, Server, Tool};
    check(Principal, ADA, About { server: "bye", tool: None, ..from("203.0.113.9") }, true);
    check(Principal, ADA, About { principal: "key:bob", ..ADA }, false);
    check(Principal, nobody("192.0.2.1"), nobody("192.0.2.1"), true);
    check(Principal, nobody("192.0.2.1"), nobody("192.0.2.2"), false);
    // A name that looks like an address is none.
    check(Principal, nobody("192.0.2.1"), About { principal: "192.0.2.1", ..ADA }, false);
    check(Address, ADA, About { principal: "key:bob", ..ADA }, true);
    check(Address, ADA, from("192.0.2.2"), false);
    check(Address, ADA, from("::ffff:192.0.2.1"), true);
    check(Address, from("2001:db8:1:2::1"), from("2001:db8:1:2:ffff::9"), true);
    check(Address, from("2001:db8:1:2::1"), from("2001:db8:1:3::1"), false);
    check(Address, from(""), from(""), true);
    check(Server, ADA, About { principal: "key:bob", tool: None, ..from("192.0.2.2") }, true);
    check(Server, ADA, About { server: "bye", ..ADA }, false);
    check(Tool, ADA, About { principal: "key:bob", ..ADA }, true);
    check(Tool, ADA, About { tool: Some("other"), ..ADA }, false);
    check(Tool, ADA, About { server: "bye", ..ADA }, false);
}

#[test]
fn a_limit_is_about_the_servers_and_tools_that_it_names() {
    let greet = ServerName::parse("greet").expect("the test's own name");
    let server = RateLimit { servers: vec![greet.clone()], ..table("a", RateKey::Principal, 1, 60) };
    let tool = RateLimit { tools: vec!["echoHai".into()], ..table("a", RateKey::Principal, 1, 60) };
    let check = |limit: &RateLimit, call: About<'_>, is_limited: bool| {
        let (rates, _) = rates(std::slice::from_ref(limit));
        assert_eq!(passes(&rates, call) < 100, is_limited, "{call:?}");
    };
    check(&server, ADA, true);
    check(&server, About { tool: None, ..ADA }, true);
    check(&server, About { server: "bye", ..ADA }, false);
    check(&tool, About { server: "bye", ..ADA }, true);
    check(&tool, About { tool: Some("other"), ..ADA }, false);
    check(&tool, About { tool: None, ..ADA }, false);
    check(&RateLimit { servers: vec![greet], ..tool }, About { server: "bye", ..ADA }, false);
}

#[test]
fn a_call_that_one_limit_refuses_counts_for_none() {
    let narrow = table("narrow", RateKey::Tool, 1, 60);
    let wide = table("wide", RateKey::Principal, 5, 60);
    for tables in [[wide.clone(), narrow.clone()], [narrow, wide]] {
        let (rates, _) = rates(&tables);
        assert_eq!(passes(&rates, ADA), 1);
        for _ in 0..20 {
            assert_eq!(rates.check(&ADA).expect_err("it is used up").name(), "narrow");
        }
        assert_eq!(passes(&rates, About { tool: Some("other"), ..ADA }), 1);
        assert_eq!(passes(&rates, About { tool: Some("another"), ..ADA }), 1);
        assert_eq!(passes(&rates, About { tool: Some("a third"), ..ADA }), 1);
        assert_eq!(passes(&rates, About { tool: Some("a fourth"), ..ADA }), 1);
        let refused = rates.check(&About { tool: Some("a fifth"), ..ADA }).expect_err("it is used up");
        assert_eq!(refused.name(), "wide");
    }
}

#[test]
fn of_two_limits_that_are_used_up_the_one_that_takes_longest_is_told() {
    let short = table("short", RateKey::Server, 1, 1);
    let long = table("long", RateKey::Server, 1, 3600);
    for tables in [[short.clone(), long.clone()], [long, short]] {
        let (rates, _) = rates(&tables);
        assert_eq!(passes(&rates, ADA), 1);
        assert_eq!(rates.check(&ADA).expect_err("both are used up").name(), "long");
    }
}

#[test]
fn an_answer_says_what_is_left_of_every_limit_that_is_about_the_call() {
    let other = RateLimit { tools: vec!["other".into()], ..table("other", RateKey::Tool, 1, 1) };
    let hourly = table("hourly", RateKey::Principal, 100, 3600);
    let (rates, clock) = rates(&[table("per-tool", RateKey::Tool, 2, 5), other, hourly]);
    let passed = rates.check(&ADA).expect("the first one");
    insta::assert_snapshot!(headers(|headers| passed.headers().add_to(headers)), @r#"
    ratelimit-policy: "per-tool";q=2;w=5, "hourly";q=100;w=3600
    ratelimit: "per-tool";r=1;t=3, "hourly";r=99;t=36
    "#);
    assert!(rates.check(&ADA).is_ok());
    clock.advance(Duration::from_millis(100));
    let refused = rates.check(&ADA).expect_err("it is used up");
    insta::assert_snapshot!(headers(|headers| refused.write_to(headers)), @r#"
    ratelimit-policy: "per-tool";q=2;w=5, "hourly";q=100;w=3600
    ratelimit: "per-tool";r=0;t=3, "hourly";r=98;t=72
    retry-after: 3
    "#);
    let (none, _) = self::rates(&[]);
    assert_eq!(headers(|headers| none.check(&ADA).expect("no limit").headers().add_to(headers)), "");
}

#[test]
fn nobody_is_told_to_come_back_at_once() {
    let (rates, _) = rates(&[table("a", RateKey::Server, 1000, 1)]);
    let refused = (0..2000).find_map(|_| rates.check(&ADA).err()).expect("it is used up");
    assert_eq!(refused.retry_after(), Duration::from_millis(1));
    assert!(headers(|headers| refused.write_to(headers)).ends_with("retry-after: 1\n"));
    assert!(refused.to_string().ends_with("try again in 1 s"), "{refused}");
}

#[test]
fn a_reload_keeps_what_was_counted_by_limits_that_stay() {
    let (stays, changes) = (table("stays", RateKey::Server, 5, 60), table("changes", RateKey::Server, 5, 60));
    let (rates, _) = rates(&[stays.clone(), changes.clone()]);
    assert_eq!(passes(&rates, ADA), 5);
    let only = |table: &RateLimit| passes(&rates.renewed(std::slice::from_ref(table)), ADA);
    assert_eq!(only(&stays), 0);
    let more = RateLimit { burst: NonZeroU32::new(7).expect("a number"), ..changes };
    assert_eq!(only(&more), 7);
    assert_eq!(passes(&rates.renewed(&[]), ADA), 100);
}

#[test]
fn a_flood_of_keys_takes_bounded_memory_and_lets_nobody_through() {
    let (limit, clock) = small(10);
    let known = 5_000_000;
    assert!(limit.take(known).is_ok());
    // Each of the shared states lets one call through, and each of the ten that have their own.
    let passed = (0..50_000u64).filter(|at| limit.take(1_000_000 + at).is_ok()).count();
    assert_eq!((passed, limit.states.len()), (9 + 1024, 10 + 1024));
    assert!(limit.take(known).is_err(), "it is limited as before");
    // Whoever comes now is limited as a part of the flood.
    assert_eq!(limit.take(77_777_777), Err(seconds(60)));
    // What is kept of the flood goes, and who is known is so still.
    clock.advance(seconds(60));
    assert!(limit.take(known).is_ok());
    clock.advance(seconds(61));
    assert!(limit.take(77_777_777).is_ok());
    assert_eq!(limit.states.len(), 2);
    assert!(limit.take(known).is_ok());
}

#[test]
fn keys_that_have_not_called_for_long_are_forgotten() {
    let (limit, clock) = small(1_000);
    for key in 0..100 {
        assert!(limit.take(key).is_ok());
    }
    clock.advance(seconds(59));
    assert!(limit.take(1_000).is_ok());
    assert_eq!(limit.states.len(), 101);
    clock.advance(seconds(62));
    assert!(limit.take(1_001).is_ok());
    assert_eq!(limit.states.len(), 2, "the two that called last");
}

#[test]
fn what_is_given_back_is_there_again_and_no_more_than_that() {
    let clock = FakeRelativeClock::default();
    let limit = Limit::new(&table("a", RateKey::Server, 3, 3), 10, clock.clone());
    let left = || std::iter::from_fn(|| limit.take(1).ok()).count();
    let give_back = |times: usize| (0..times).for_each(|_| limit.states.give_back(1, limit.interval.into()));
    give_back(1);
    assert_eq!(left(), 3);
    give_back(2);
    assert_eq!(left(), 2);
    clock.advance(seconds(100));
    assert_eq!(left(), 3);
}

#[test]
fn threads_that_call_at_once_are_not_more_than_the_limit_lets_through() {
    let (rates, _) =
        rates(&[table("a", RateKey::Principal, 50, 3600), table("b", RateKey::Server, 1000, 3600)]);
    let count = || (0..100).filter(|_| rates.check(&ADA).is_ok()).count();
    let passed: usize = thread::scope(|scope| {
        [(); 4]
            .map(|()| scope.spawn(count))
            .map(|thread| thread.join().expect("it does not panic"))
            .iter()
            .sum()
    });
    assert_eq!(passed, 50);
    assert_eq!(passes(&rates, About { principal: "key:bob", ..ADA }), 50);
}

#[test]
fn figures_beyond_what_can_be_counted_are_cut() {
    let most = NonZeroU32::MAX;
    for (calls, window) in [(1, Duration::MAX), (u32::MAX, Duration::from_nanos(1)), (1, seconds(86_400))] {
        let calls = NonZeroU32::new(calls).expect("the test's own number");
        let table = RateLimit { calls, window, burst: most, ..table("a", RateKey::Server, 1, 1) };
        let (rates, clock) = rates(&[table]);
        assert!(rates.check(&ADA).is_ok());
        clock.advance(seconds(3600));
        let _ = rates.check(&ADA);
    }
    let real = Rates::new(&[table("a", RateKey::Server, 1, 3600)]);
    assert!(real.check(&ADA).is_ok());
    assert!(real.check(&ADA).is_err());
}
