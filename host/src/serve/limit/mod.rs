//! How much callers may take: calls per time, and calls at once.
//!
//! In:   who calls what, and the `[[limits.rate]]` tables.
//! Out:  leave to go on, or how long to wait.
//! Never: waits itself; uses more memory because many call.

mod gate;
mod headers;
mod rates;
mod states;

pub(super) use gate::{Gate, GatePass};
pub(super) use headers::{Passed, RateHeaders};
pub(super) use rates::{About, Rates, network};
