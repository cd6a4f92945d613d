//! What a context speaks to: the gateway, or a test.

use std::sync::Arc;

use abi_stable::std_types::{RSlice, RStr, RVec};
use serde_json::Value;

use super::{Delivery, call::Call};
use crate::{
    abi::{self, Host},
    testing::Recorder,
};

/// The gateway, or a test.
#[derive(Clone)]
pub(crate) enum Link {
    Gateway(Host),
    Test(Arc<Recorder>),
}

impl Link {
    /// Sends a notification: about a call, or with 0 about the server.
    pub(crate) fn notify(&self, call: u64, method: &str, params: &Value) -> Delivery {
        match self {
            Self::Gateway(host) => {
                let params = params.to_string();
                let params = RSlice::from_slice(params.as_bytes());
                delivery((host.table.notify())(host.context, call, RStr::from_str(method), params))
            }
            Self::Test(recorder) => recorder.notify(call, method, params),
        }
    }

    /// What is known about a call, JSON; empty if there is no such call.
    pub(super) fn info(&self, call: u64) -> RVec<u8> {
        let mut out = RVec::new();
        match self {
            Self::Gateway(host) if (host.table.info())(host.context, call, &mut out) => out,
            Self::Gateway(_) => RVec::new(),
            Self::Test(recorder) => recorder.info().into(),
        }
    }

    pub(super) fn request(&self, call: &Call, key: &str, method: &str, params: &str) -> Delivery {
        match self {
            Self::Gateway(host) => {
                let (key, method) = (RStr::from_str(key), RStr::from_str(method));
                let params = RSlice::from_slice(params.as_bytes());
                delivery((host.table.request())(host.context, call.id, key, method, params))
            }
            Self::Test(recorder) => recorder.request(call, key, method, params),
        }
    }

    pub(super) fn parked(&self, call: u64) {
        match self {
            Self::Gateway(host) => (host.table.parked())(host.context, call),
            Self::Test(recorder) => recorder.parked(),
        }
    }

    pub(super) fn set_state(&self, call: u64, state: &[u8]) -> Delivery {
        match self {
            Self::Gateway(host) => {
                delivery((host.table.set_state())(host.context, call, RSlice::from_slice(state)))
            }
            Self::Test(recorder) => recorder.set_state(state),
        }
    }

    pub(super) fn become_task(&self, call: u64, options: &Value) -> bool {
        match self {
            Self::Gateway(host) => {
                let options = options.to_string();
                (host.table.into_task())(host.context, call, RSlice::from_slice(options.as_bytes()))
            }
            Self::Test(recorder) => recorder.become_task(options),
        }
    }
}

fn delivery(delivered: u32) -> Delivery {
    match delivered {
        abi::DELIVERED => Delivery::Delivered,
        abi::CLOSED => Delivery::Closed,
        _ => Delivery::Dropped,
    }
}
