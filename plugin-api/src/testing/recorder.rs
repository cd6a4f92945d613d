//! The gateway of a test: keeps what a call says, and passes on what its client answers.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::client::{Client, Manner};
use crate::{CallInfo, Delivery, abi, ctx::Call};

/// Largest question that is taken, in bytes, as by the gateway (ABI.md).
const PARAMS_MAX: usize = 256 << 10;

/// Notifications, in order: method and parameters.
pub(super) type Said = Vec<(String, Value)>;

/// The gateway, as one call of a test sees it.
pub(crate) struct Recorder {
    client: Client,
    info: CallInfo,
    heard: Mutex<Heard>,
    /// What is said about the server as a whole; shared by all calls.
    about_server: Arc<Mutex<Said>>,
    suspended: Notify,
}

/// What a call said, in all its runs.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) notifications: Said,
    /// Every request, as often as it was sent: key, method, parameters.
    pub(super) requests: Vec<(String, String, Value)>,
    /// The keys asked for in each round.
    pub(super) rounds: Vec<Vec<String>>,
    pub(super) task: Option<Value>,
    /// How often the call waited for its requests and for nothing else.
    pub(super) parked: usize,
    /// Keys whose answers come at once.
    known: HashSet<String>,
    /// Keys that wait for an answer in this run.
    open: Vec<String>,
    state: Option<Vec<u8>>,
    /// State as it was when this run began.
    saved: Option<Vec<u8>>,
}

impl Recorder {
    pub(crate) fn new(client: Client, info: CallInfo, about_server: Arc<Mutex<Said>>) -> Arc<Self> {
        let heard = Mutex::default();
        Arc::new(Self { client, info, heard, about_server, suspended: Notify::new() })
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify(&self, call: u64, method: &str, params: &Value) -> Delivery {
        let said = (method.to_owned(), params.clone());
        match call {
            0 => self.about_server.lock().unwrap_or_else(PoisonError::into_inner).push(said),
            _ => self.heard().notifications.push(said),
        }
        Delivery::Delivered
    }

    pub(crate) fn info(&self) -> Vec<u8> {
        let mut info = json!(self.info);
        if self.info.client_capabilities.is_none() {
            info["clientCapabilities"] = self.client.capabilities.clone();
        }
        if let Some(saved) = &self.heard().saved {
            info["state"] = serde_json::from_slice(saved).unwrap_or(Value::Null);
        }
        info.to_string().into_bytes()
    }

    pub(crate) fn request(&self, call: &Call, key: &str, method: &str, params: &str) -> Delivery {
        if params.len() > PARAMS_MAX {
            return Delivery::Dropped;
        }
        let params = serde_json::from_str(params).unwrap_or(Value::Null);
        let mut heard = self.heard();
        heard.requests.push((key.into(), method.into(), params));
        let scripted = self.client.answers.get(key);
        // What a client cannot be asked is known without asking it.
        let cannot = scripted.is_none_or(|(status, _)| *status == abi::UNSUPPORTED);
        let at_once = match self.client.manner {
            Manner::Live => true,
            Manner::Replay => cannot || heard.known.contains(key) || heard.task.is_some(),
            Manner::Hold => false,
        };
        if !at_once {
            heard.open.push(key.into());
            return Delivery::Delivered;
        }
        drop(heard);
        let (status, answer) = scripted.cloned().unwrap_or((abi::UNSUPPORTED, Value::Null));
        call.answer(key, status, answer.to_string().as_bytes());
        Delivery::Delivered
    }

    pub(crate) fn parked(&self) {
        self.heard().parked += 1;
        if self.client.manner == Manner::Replay {
            self.suspended.notify_one();
        }
    }

    pub(crate) fn set_state(&self, state: &[u8]) -> Delivery {
        self.heard().state = Some(state.to_owned());
        Delivery::Delivered
    }

    pub(crate) fn become_task(&self, options: &Value) -> bool {
        let knows = self.client.capabilities.pointer("/extensions/io.modelcontextprotocol~1tasks").is_some();
        if knows {
            self.heard().task = Some(options.clone());
        }
        knows
    }

    /// Waits until the call is to be ended with its questions.
    pub(super) async fn suspended(&self) {
        self.suspended.notified().await;
    }

    /// How often a call was parked.
    #[cfg(test)]
    pub(crate) fn parks(&self) -> usize {
        self.heard().parked
    }

    /// The keys it asked for.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> Vec<String> {
        self.heard().requests.iter().map(|(key, ..)| key.clone()).collect()
    }

    /// The client answers, and the call is about to run again.
    pub(super) fn resume(&self) {
        let heard = &mut *self.heard();
        let open = std::mem::take(&mut heard.open);
        heard.known.extend(open.iter().cloned());
        heard.rounds.push(open);
        heard.saved.clone_from(&heard.state);
    }
}
