//! What the suite wrote: in one folder, a folder for each scenario, in each of these a `checks.json`.

use std::{fs, iter::Sum, ops::AddAssign, path::Path};

use serde_json::Value;

use crate::failure::{Failure, Result};

/// Longest reason that is printed; some quote whole answers. The file has all of it.
const REASON_CHARS_MAX: usize = 300;

/// What came of one scenario.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scenario {
    name: String,
    passed: usize,
    failed: Vec<Check>,
    skipped: Vec<Check>,
}

/// A check that did not pass.
#[derive(Debug, PartialEq, Eq)]
struct Check {
    id: String,
    reason: String,
}

/// How many checks passed, failed, and were not made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

/// Every scenario in `folder`, by name.
pub(super) fn read(folder: &Path) -> Result<Vec<Scenario>> {
    let entries = fs::read_dir(folder).map_err(|e| Failure::at("cannot read", folder, e))?;
    let mut scenarios = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Failure::at("cannot read", folder, e))?;
        // The suite makes the folder first and the file last: no file is a scenario that broke off.
        let checks = fs::read_to_string(entry.path().join("checks.json")).unwrap_or_default();
        scenarios.push(Scenario::parse(&entry.file_name().to_string_lossy(), &checks));
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scenarios)
}

impl Scenario {
    /// From the name of its folder and the text of its `checks.json`.
    fn parse(folder: &str, checks: &str) -> Self {
        let mut scenario =
            Self { name: name(folder).to_owned(), passed: 0, failed: Vec::new(), skipped: Vec::new() };
        let checks = serde_json::from_str::<Vec<Value>>(checks).unwrap_or_default();
        if checks.is_empty() {
            let reason = "it broke off, or checked nothing".into();
            scenario.failed.push(Check { id: "no result".into(), reason });
        }
        for check in &checks {
            match check["status"].as_str() {
                Some("SUCCESS") => scenario.passed += 1,
                // A remark about the traffic, not a check.
                Some("INFO") => {}
                Some("SKIPPED") => scenario.skipped.push(Check::parse(check)),
                // FAILURE is a MUST that was not met and WARNING a SHOULD: both count, and so does what is new.
                _ => scenario.failed.push(Check::parse(check)),
            }
        }
        scenario
    }

    pub(super) fn tally(&self) -> Tally {
        Tally { passed: self.passed, failed: self.failed.len(), skipped: self.skipped.len() }
    }

    /// What a person has to know: what failed and what was skipped, and nothing about the rest.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.failed.is_empty() {
            lines.push(format!("FAIL {}: {} passed, {} failed", self.name, self.passed, self.failed.len()));
        }
        lines.extend(self.failed.iter().map(|check| format!("       {}: {}", check.id, check.reason)));
        // What a server does not declare is skipped by the dozen, for one reason.
        if let Some(Check { reason, .. }) = self.skipped.first() {
            let ids = self.skipped.iter().map(|check| check.id.as_str()).collect::<Vec<_>>().join(", ");
            lines.push(format!("skip {}: {reason} ({ids})", self.name));
        }
        lines
    }
}

/// `server-tools-list-2026-11-21T09-33-07-304Z` is the scenario `tools-list`.
fn name(folder: &str) -> &str {
    let name = folder.strip_prefix("server-").unwrap_or(folder);
    let without_time = name.len().checked_sub("-2026-11-21T09-33-07-304Z".len());
    let (scenario, time) = without_time.and_then(|at| name.split_at_checked(at)).unwrap_or((name, ""));
    if time.starts_with('-') && time.ends_with('Z') { scenario } else { name }
}

impl Check {
    fn parse(json: &Value) -> Self {
        let text = |key: &str| json[key].as_str().filter(|text| !text.is_empty());
        let words = text("errorMessage").or(text("description")).unwrap_or("no reason given");
        // A warning is told apart: the suite itself would let it pass.
        let warned = if json["status"] == "WARNING" { "(warning) " } else { "" };
        let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut reason: String = warned.chars().chain(one_line.chars()).take(REASON_CHARS_MAX).collect();
        if reason.len() < warned.len() + one_line.len() {
            reason.push('…');
        }
        Self { id: text("id").unwrap_or("a check without an id").to_owned(), reason }
    }
}

impl Tally {
    pub(super) fn sentence(self) -> String {
        format!("{} checks passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        let mut sum = Self::default();
        tallies.for_each(|tally| sum += tally);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "server-caching-2026-11-21T09-33-07-664Z";

    fn check(checks: &str, tally: (usize, usize, usize), lines: &[&str]) {
        let scenario = Scenario::parse(FOLDER, checks);
        let Tally { passed, failed, skipped } = scenario.tally();
        assert_eq!((passed, failed, skipped), tally);
        assert_eq!(scenario.lines(), lines);
    }

    #[test]
    fn what_passes_is_counted_in_silence_and_remarks_are_not() {
        let checks = r#"[{"id": "a", "status": "SUCCESS"}, {"id": "b", "status": "INFO"}]"#;
        check(checks, (1, 0, 0), &[]);
    }

    #[test]
    fn a_failure_is_told_with_its_reason_in_one_line() {
        let checks = r#"[
            {"id": "tools", "status": "SUCCESS", "description": "tools/list has hints"},
            {"id": "prompts", "status": "FAILURE", "description": "has hints", "errorMessage": "error\n  -32601"},
            {"id": "reads", "status": "FAILURE", "description": "resources/read has hints"}
        ]"#;
        let lines = [
            "FAIL caching: 1 passed, 2 failed",
            "       prompts: error -32601",
            "       reads: resources/read has hints",
        ];
        check(checks, (1, 2, 0), &lines);
    }

    #[test]
    fn a_warning_and_a_status_unknown_today_are_failures() {
        let checks =
            r#"[{"id": "a", "status": "WARNING", "errorMessage": "SHOULD"}, {"id": "b", "status": "ODD"}]"#;
        let lines =
            ["FAIL caching: 0 passed, 2 failed", "       a: (warning) SHOULD", "       b: no reason given"];
        check(checks, (0, 2, 0), &lines);
    }

    #[test]
    fn skipped_checks_are_named_and_fail_nothing() {
        let checks = r#"[
            {"id": "a", "status": "SKIPPED", "errorMessage": "not declared"},
            {"id": "b", "status": "SKIPPED", "errorMessage": "not declared"}
        ]"#;
        check(checks, (0, 0, 2), &["skip caching: not declared (a, b)"]);
    }

    #[test]
    fn a_scenario_without_a_result_has_failed() {
        let lines =
            ["FAIL caching: 0 passed, 1 failed", "       no result: it broke off, or checked nothing"];
        for checks in ["", "[]", "[{\"id\": \"a\", \"sta"] {
            check(checks, (0, 1, 0), &lines);
        }
    }

    #[test]
    fn a_long_reason_is_cut_where_a_letter_ends() {
        let checks =
            format!(r#"[{{"id": "a", "status": "FAILURE", "errorMessage": "{}"}}]"#, "é".repeat(400));
        let reason = format!("       a: {}…", "é".repeat(REASON_CHARS_MAX));
        check(&checks, (0, 1, 0), &["FAIL caching: 0 passed, 1 failed", &reason]);
    }

    #[test]
    fn a_scenario_is_named_without_its_role_and_time() {
        assert_eq!(name(FOLDER), "caching");
        assert_eq!(name("server-server-stateless-2026-11-21T09-33-04-598Z"), "server-stateless");
        assert_eq!(name("server-ping"), "ping");
        assert_eq!(name("é"), "é");
    }
}
