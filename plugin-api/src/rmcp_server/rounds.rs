//! A call to its end, over as many rounds of questions as the server wants.
//!
//! A server of the 2026-07-28 manner answers with its questions, and is then asked the same again with the answers.
//! Here the plugin is its client and the call stays one. What was asked last is kept as the call's state: where the
//! gateway runs the call again to have it answered, the server does not, but goes on from there.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    exchange::{Exchange, Keys},
    task,
    wire::Object,
};
use crate::{Error, Result, error};

/// More rounds than any dialogue has: a server that asks on regardless is stopped here.
const ROUNDS_MAX: u32 = 30;

/// The questions of one round.
#[derive(Serialize, Deserialize)]
struct Round {
    /// From 1, over all runs of the call.
    number: u32,
    /// As they were before these questions.
    keys: Keys,
    questions: Object,
    /// The server's own, which it gets back.
    state: Option<Value>,
}

/// The server's final answer.
pub(super) async fn run(exchange: &mut Exchange<'_>, method: &str, params: Object) -> Result<Value> {
    let mut resumed = exchange.ctx.state::<Round>().ok().flatten();
    let mut sent = params.clone();
    let mut number = 0;
    while number < ROUNDS_MAX {
        let round = match resumed.take() {
            Some(round) => round,
            None => {
                let mut result = exchange.request(method, sent).await?;
                match result["resultType"].as_str() {
                    Some("input_required") => {}
                    Some("task") => return task::run(exchange, &result).await,
                    _ => return Ok(result),
                }
                let questions = match result.get_mut("inputRequests").map(Value::take) {
                    Some(Value::Object(questions)) => questions,
                    _ => Object::new(),
                };
                let state = result.get_mut("requestState").map(Value::take);
                let round = Round { number: number + 1, keys: exchange.keys.clone(), questions, state };
                exchange.ctx.set_state(&round)?;
                round
            }
        };
        (number, exchange.keys) = (round.number, round.keys);
        let answers = exchange.ask(&round.questions).await?;
        sent = params.clone();
        sent.insert("inputResponses".into(), answers.into());
        sent.extend(round.state.map(|state| ("requestState".into(), state)));
    }
    let text = format!("the server still asked for input after {ROUNDS_MAX} rounds");
    Err(Error::protocol(error::INTERNAL_ERROR, text))
}
