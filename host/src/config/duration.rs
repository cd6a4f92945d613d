//! Lengths of time as an operator writes them: a whole number and a unit.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::name::Refusal;

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// Longer waits are mistakes: nobody watches a gateway that drains for days.
const LONGEST: Duration = Duration::from_hours(24);

/// A length of time as typed, e.g. `30s`. Not checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct WrittenDuration(pub(super) String);

impl WrittenDuration {
    /// Longer than nothing and at most a day.
    pub(super) fn parse(&self) -> Result<Duration, Refusal> {
        match self.parse_or_zero() {
            Ok(Duration::ZERO) => Err(Refusal::of(&self.0, "is no time at all", "write at least \"1ms\"")),
            parsed => parsed,
        }
    }

    /// At most a day.
    pub(super) fn parse_or_zero(&self) -> Result<Duration, Refusal> {
        let text = &self.0;
        let remedy = "write a whole number and a unit: \"250ms\", \"30s\", \"5m\", \"1h\"";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let (Some(factor), false) = (factor, number.is_empty()) else {
            return Err(Refusal::of(text, "is not a duration", remedy));
        };
        // Only a number too large for 64 bits fails here.
        let milliseconds = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor);
        match Duration::from_millis(milliseconds) {
            long if long > LONGEST => Err(Refusal::of(text, "is longer than a day", "write at most \"24h\"")),
            duration => Ok(duration),
        }
    }
}

impl From<Duration> for WrittenDuration {
    fn from(duration: Duration) -> Self {
        if duration.is_zero() {
            return Self("0s".into());
        }
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let whole = |(_, factor): &&(&str, u64)| milliseconds.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().rev().find(whole).unwrap_or(&UNITS[0]);
        Self(format!("{}{unit}", milliseconds / factor))
    }
}

impl JsonSchema for WrittenDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Editors see the text before `${VAR}` is replaced.
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(ms|s|m|h)$|\$\{",
            "examples": ["30s", "250ms", "5m", "1h"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, &str>) {
        let found = WrittenDuration(text.to_owned()).parse();
        let found = found.map(|duration| duration.as_millis()).map_err(|refusal| refusal.message);
        assert_eq!(found, expected.map(u128::from).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        check("250ms", Ok(250));
        check("30s", Ok(30_000));
        check("5m", Ok(300_000));
        check("24h", Ok(86_400_000));
        check("", Err("`` is not a duration"));
        check("30", Err("`30` is not a duration"));
        check("s", Err("`s` is not a duration"));
        check("1.5s", Err("`1.5s` is not a duration"));
        check("30 s", Err("`30 s` is not a duration"));
        check("-1s", Err("`-1s` is not a duration"));
        check("0s", Err("`0s` is no time at all"));
        check("25h", Err("`25h` is longer than a day"));
        check("99999999999999999999999h", Err("`99999999999999999999999h` is longer than a day"));
    }

    #[test]
    fn a_duration_is_written_in_the_largest_whole_unit() {
        let written = |milliseconds| WrittenDuration::from(Duration::from_millis(milliseconds)).0;
        assert_eq!([0, 250, 25_000, 90_000, 7_200_000].map(written), ["0s", "250ms", "25s", "90s", "2h"]);
    }
}
