//! How often something may be called: each `[[limits.rate]]` table is a limit by GCRA, with a state for each key.
//!
//! In:   what is known of a call.
//! Out:  where its caller stands with each limit that is about it.
//! Fails: if one of them is used up, with the one that takes longest.
//! Never: a thread, a timer; a state per caller without bound (see [`states`](super::states)).

#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock, Reference as _},
    middleware::StateInformationMiddleware,
};

use super::{
    headers::{Exceeded, Passed, Policy, Standing},
    states::States,
};
use crate::config::{RateKey, RateLimit};

/// Most keys of one limit that have a state of their own: some MiB.
const KEYS_MAX: usize = 100_000;
/// How often keys that have not called for long are forgotten, and how often if there is no place for others.
const SWEEP: Duration = Duration::from_secs(60);
const SWEEP_WHEN_FULL: Duration = Duration::from_secs(1);
/// GCRA counts in nanoseconds, in 64 bits. Limits that fill up slower than in this time are cut.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// All limits, in file order.
#[derive(Debug)]
pub(in crate::serve) struct Rates<C: Clock = MonotonicClock> {
    limits: Vec<Arc<Limit<C>>>,
    clock: C,
}

/// What limits need to know of a call.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) struct About<'a> {
    /// Who calls.
    pub(in crate::serve) principal: &'a str,
    /// Whether that is a name for one caller, and not for everybody who has not said who they are.
    pub(in crate::serve) is_named: bool,
    /// Where from; `None`: from this machine, by no network.
    pub(in crate::serve) address: Option<IpAddr>,
    /// Which server.
    pub(in crate::serve) server: &'a str,
    /// Which tool; `None`: another method.
    pub(in crate::serve) tool: Option<&'a str>,
}

#[derive(Debug)]
struct Limit<C: Clock> {
    policy: Arc<Policy>,
    limiter: RateLimiter<u64, States, C, StateInformationMiddleware>,
    /// The limiter's.
    states: States,
    /// The time in which one call comes back.
    interval: Duration,
    /// How many calls may come at once.
    burst: NonZeroU32,
    /// Keys are hashed with it, so that nobody can look for two that have the same hash.
    seed: RandomState,
    began: C::Instant,
    /// When keys were last forgotten, in nanoseconds since it began.
    swept: AtomicU64,
    /// Calls by [`Decision`].
    decided: [AtomicU64; 2],
}

/// What a limit has decided of a call: allowed, if none of the others has refused it.
#[derive(Debug, Clone, Copy)]
enum Decision {
    Allowed,
    Refused,
}

/// Whose calls are counted together.
#[derive(Hash)]
enum Whose<'a> {
    Principal(&'a str),
    Network(Option<IpAddr>),
    Server(&'a str),
    Tool(&'a str, Option<&'a str>),
}

impl Rates {
    /// Limits that nobody has used yet.
    pub(in crate::serve) fn new(tables: &[RateLimit]) -> Self {
        // Not quanta's clock: to calibrate it can take as long as the whole start of a gateway.
        Self::with_clock(tables, MonotonicClock)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(tables: &[RateLimit], clock: C) -> Self {
        let limits =
            tables.iter().map(|table| Arc::new(Limit::new(table, KEYS_MAX, clock.clone()))).collect();
        Self { limits, clock }
    }

    /// The limits of `tables`. One that stays as it is goes on from where it is.
    pub(in crate::serve) fn renewed(&self, tables: &[RateLimit]) -> Self {
        let limit = |table: &RateLimit| {
            let same = self.limits.iter().find(|limit| limit.policy.limit == *table);
            same.cloned().unwrap_or_else(|| Arc::new(Limit::new(table, KEYS_MAX, self.clock.clone())))
        };
        Self { limits: tables.iter().map(limit).collect(), clock: self.clock.clone() }
    }

    /// Every limit by name, with how often it has let a call through and how often not.
    pub(in crate::serve) fn decided(&self) -> impl Iterator<Item = (&str, [u64; 2])> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.limits
            .iter()
            .map(move |limit| (limit.policy.limit.name.as_str(), limit.decided.each_ref().map(count)))
    }

    /// Counts a call. One that is refused by any limit counts for none: those that let it through get it back, so that
    /// their order is of no matter. Until then a call that comes at the same moment may find one less.
    pub(in crate::serve) fn check(&self, call: &About<'_>) -> Result<Passed, Exceeded> {
        let about = || self.limits.iter().filter(|limit| limit.is_about(call));
        let mut standings = Vec::with_capacity(self.limits.len());
        let mut refused = Vec::new();
        let mut longest: Option<(&Arc<Limit<C>>, Duration)> = None;
        for (at, limit) in about().enumerate() {
            let (remaining, more_in) = match limit.take(limit.key(call)) {
                Ok(remaining) => (remaining, limit.full_in(remaining)),
                Err(wait) => {
                    refused.push(at);
                    longest = longest.filter(|(_, other)| *other >= wait).or(Some((limit, wait)));
                    (0, wait)
                }
            };
            standings.push(Standing { policy: limit.policy.clone(), remaining, more_in });
        }
        let Some((limit, retry_after)) = longest else {
            about().for_each(|limit| limit.decide(Decision::Allowed));
            return Ok(Passed(standings));
        };
        about()
            .enumerate()
            .filter(|(at, _)| refused.contains(at))
            .for_each(|(_, limit)| limit.decide(Decision::Refused));
        let taken = about().zip(&mut standings).enumerate().filter(|(at, _)| !refused.contains(at));
        for (_, (limit, standing)) in taken {
            limit.states.give_back(limit.key(call), limit.interval.into());
            standing.remaining += 1;
            standing.more_in = limit.full_in(standing.remaining);
        }
        Err(Exceeded { policy: limit.policy.clone(), retry_after, standings })
    }
}

impl<C: Clock> Limit<C> {
    fn new(table: &RateLimit, keys_max: usize, clock: C) -> Self {
        let interval = (table.window / table.calls.get()).clamp(Duration::from_nanos(1), LONGEST);
        let most = u32::try_from(LONGEST.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
        let burst = table.burst.min(most.try_into().expect("an interval is at most as long as the longest"));
        let quota = Quota::with_period(interval).expect("an interval is not zero").allow_burst(burst);
        let (states, began) = (States::new(keys_max), clock.now());
        Self {
            policy: Arc::new(Policy::new(table.clone())),
            limiter: RateLimiter::new(quota, states.clone(), clock),
            states,
            interval,
            burst,
            seed: RandomState::new(),
            began,
            swept: AtomicU64::new(0),
            decided: Default::default(),
        }
    }

    fn decide(&self, decision: Decision) {
        self.decided[decision as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn is_about(&self, call: &About<'_>) -> bool {
        let RateLimit { servers, tools, .. } = &self.policy.limit;
        (servers.is_empty() || servers.iter().any(|server| server.as_str() == call.server))
            && (tools.is_empty() || call.tool.is_some_and(|tool| tools.iter().any(|listed| listed == tool)))
    }

    /// Under which the call is counted.
    fn key(&self, call: &About<'_>) -> u64 {
        self.seed.hash_one(self.whose(call))
    }

    fn whose<'a>(&self, call: &About<'a>) -> Whose<'a> {
        match self.policy.limit.key {
            RateKey::Principal if call.is_named => Whose::Principal(call.principal),
            RateKey::Principal | RateKey::Address => Whose::Network(call.address.map(network)),
            RateKey::Server => Whose::Server(call.server),
            RateKey::Tool => Whose::Tool(call.server, call.tool),
        }
    }

    /// How many calls of `key` would still be let through after this one, or how long it has to wait.
    fn take(&self, key: u64) -> Result<u32, Duration> {
        self.sweep_if_due();
        match self.limiter.check_key(&key) {
            Ok(left) => Ok(left.remaining_burst_capacity()),
            Err(not_until) => Err(not_until.wait_time_from(self.limiter.clock().now())),
        }
    }

    /// How long it takes until as many calls as ever are let through, if `remaining` are now; up to an interval less.
    fn full_in(&self, remaining: u32) -> Duration {
        self.interval * self.burst.get().saturating_sub(remaining)
    }

    /// Forgets those who would be let through as if they had never called. By whoever calls first after it is due.
    fn sweep_if_due(&self) {
        let every = if self.states.is_full() { SWEEP_WHEN_FULL } else { SWEEP };
        let now = self.limiter.clock().now().duration_since(self.began).as_u64();
        let swept = self.swept.load(Ordering::Relaxed);
        let is_due = Duration::from_nanos(now.saturating_sub(swept)) >= every;
        if is_due && self.swept.compare_exchange(swept, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
            self.states.count_again();
        }
    }
}

/// The network that one caller has: of IPv6 a /64, in which it can choose addresses as it likes.
pub(in crate::serve) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}
