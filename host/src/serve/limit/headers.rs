//! What a caller is told of limits: `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), `Retry-After`.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::RateLimit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// A limit, with what every answer says of it.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) limit: RateLimit,
    /// A member of `RateLimit-Policy`.
    member: String,
}

/// Every limit that is about a call let it through.
#[derive(Debug)]
pub(in crate::serve) struct Passed(pub(super) Vec<Standing>);

/// A limit is used up. The call counts for none.
#[derive(Debug, thiserror::Error)]
#[error(
    "limit `{}` ({} calls in {:?}) is used up; try again in {} s",
    .policy.limit.name, .policy.limit.calls, .policy.limit.window, seconds(*.retry_after).max(1)
)]
pub(in crate::serve) struct Exceeded {
    pub(super) policy: Arc<Policy>,
    pub(super) retry_after: Duration,
    pub(super) standings: Vec<Standing>,
}

/// `RateLimit-Policy` and `RateLimit` of one answer. `None`: no limit is about the call.
#[derive(Debug)]
pub(in crate::serve) struct RateHeaders(Option<[HeaderValue; 2]>);

/// Where a caller stands with one limit.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) policy: Arc<Policy>,
    /// How many calls would be let through now.
    pub(super) remaining: u32,
    /// When there is more: until it is full again, or, if nothing is left, until the next call is let through.
    pub(super) more_in: Duration,
}

impl Policy {
    pub(super) fn new(limit: RateLimit) -> Self {
        let member = format!("\"{}\";q={};w={}", limit.name, limit.calls, seconds(limit.window).max(1));
        Self { limit, member }
    }
}

impl Passed {
    /// What is left, for the answer.
    pub(in crate::serve) fn headers(&self) -> RateHeaders {
        RateHeaders::of(&self.0)
    }
}

impl Exceeded {
    /// The limit's name; of several, of the one that takes longest.
    pub(in crate::serve) fn name(&self) -> &str {
        &self.policy.limit.name
    }

    /// When another call would be let through, if nobody else calls.
    pub(in crate::serve) fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// Adds what is left, and when there is more, to an answer.
    pub(in crate::serve) fn write_to(&self, headers: &mut HeaderMap) {
        RateHeaders::of(&self.standings).add_to(headers);
        headers.insert(header::RETRY_AFTER, seconds(self.retry_after).max(1).into());
    }
}

impl RateHeaders {
    fn of(standings: &[Standing]) -> Self {
        if standings.is_empty() {
            return Self(None);
        }
        let room = standings.iter().map(|standing| standing.policy.member.len() + 2).sum();
        let (mut policies, mut left) = (String::with_capacity(room), String::with_capacity(room));
        for Standing { policy, remaining, more_in } in standings {
            if !policies.is_empty() {
                policies += ", ";
                left += ", ";
            }
            policies += &policy.member;
            left.extend(["\"", &policy.limit.name, "\";r="]);
            push_number(&mut left, u64::from(*remaining));
            left += ";t=";
            push_number(&mut left, seconds(*more_in));
        }
        let value =
            |text: &str| HeaderValue::from_str(text).expect("names of limits are keys of structured fields");
        Self(Some([value(&policies), value(&left)]))
    }

    /// Adds them to an answer. Nothing, if no limit is about the call.
    pub(in crate::serve) fn add_to(self, headers: &mut HeaderMap) {
        if let Some([policies, left]) = self.0 {
            headers.insert(POLICY, policies);
            headers.insert(STANDING, left);
        }
    }
}

/// What `write!` does, in a tenth of the time: every answer has some.
fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[first..]).expect("digits are ASCII"));
}

/// Whole ones, rounded up: who waits for so long has waited long enough.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_it_is() {
        for number in [0, 7, 10, 999_999, u64::MAX] {
            let mut text = String::from("r=");
            push_number(&mut text, number);
            assert_eq!(text, format!("r={number}"));
        }
    }
}
