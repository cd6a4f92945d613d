//! The queries of alert rules and of a dashboard, with the labels that their texts show.

use serde_json::Value;

use crate::failure::{Failure, Result};

/// One query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// Of the alert, or of the panel.
    pub(super) name: String,
    pub(super) expression: String,
    /// Labels of the result that are shown.
    pub(super) shown: Vec<String>,
}

/// Those of a file of rules in the form that ours has: block style, each rule beginning with its name.
pub(super) fn of_rules(yaml: &str) -> Vec<Query> {
    let rules = yaml.split("- alert: ").skip(1);
    rules
        .map(|rule| {
            let name = rule.lines().next().unwrap_or_default().trim().to_owned();
            let shown = rule.split("$labels.").skip(1).map(|rest| word(rest).to_owned()).collect();
            Query { name, expression: value(rule, "expr:"), shown }
        })
        .collect()
}

/// The value of `key`: what is on its line, or, if that is `|`, all that is indented more.
fn value(rule: &str, key: &str) -> String {
    let mut lines = rule.lines().skip_while(|line| !line.trim_start().starts_with(key));
    let Some(first) = lines.next() else { return String::new() };
    let indent = |line: &str| line.len() - line.trim_start().len();
    match first.trim_start()[key.len()..].trim() {
        "|" => lines
            .take_while(|line| indent(line) > indent(first))
            .flat_map(|line| [line.trim_start(), "\n"])
            .collect(),
        value => value.to_owned(),
    }
}

/// Those of panels, annotations and variables, with Grafana's own variables filled in.
pub(super) fn of_dashboard(json: &str) -> Result<Vec<Query>> {
    let dashboard: Value = serde_json::from_str(json)
        .map_err(|e| Failure::Work(format!("the dashboard is no JSON ({e}): export it again")))?;
    let mut queries = Vec::new();
    let annotations = dashboard["annotations"]["list"].as_array().into_iter().flatten();
    for one in panels(&dashboard).into_iter().chain(annotations) {
        let name = text(one, "title").or_else(|| text(one, "name")).unwrap_or_default();
        for target in one["targets"].as_array().into_iter().flatten().chain([one]) {
            let Some(expression) = text(target, "expr") else { continue };
            let shown = text(target, "legendFormat").unwrap_or_default();
            let shown = shown.split("{{").skip(1).map(|rest| word(rest.trim_start()).to_owned()).collect();
            queries.push(Query { name: name.to_owned(), expression: filled_in(expression), shown });
        }
    }
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        let asked = text(&variable["query"], "query").and_then(|asked| asked.strip_prefix("label_values("));
        if let Some((expression, label)) = asked.and_then(|asked| asked.rsplit_once(',')) {
            let shown = vec![word(label.trim_start()).to_owned()];
            let name = text(variable, "name").unwrap_or_default().to_owned();
            queries.push(Query { name, expression: filled_in(expression), shown });
        }
    }
    if queries.is_empty() {
        return Err(Failure::Work("the dashboard asks for nothing".into()));
    }
    Ok(queries)
}

/// Those in rows that are folded up, too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = dashboard["panels"].as_array().into_iter().flatten();
    top.flat_map(|panel| {
        let folded = panel["panels"].as_array().into_iter().flatten();
        std::iter::once(panel).chain(folded)
    })
    .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Those of strings stay: a string may be any.
fn filled_in(expression: &str) -> String {
    ["$__rate_interval", "$__range", "$__interval"]
        .iter()
        .fold(expression.to_owned(), |expression, variable| expression.replace(variable, "5m"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(name: &str, expression: &str, shown: &[&str]) -> Query {
        let shown = shown.iter().map(|&label| label.into()).collect();
        Query { name: name.into(), expression: expression.into(), shown }
    }

    #[test]
    fn rules_have_their_expression_on_a_line_or_below_it() {
        let yaml = "rules:\n  - alert: One\n    expr: a == 0\n    for: 1m\n    annotations: {summary: \"{{ $labels.x }}\"}\n  \
                    - alert: Two\n    # Why.\n    expr: |\n      a\n        / b\n    for: 1m\n";
        assert_eq!(of_rules(yaml), [query("One", "a == 0", &["x"]), query("Two", "a\n/ b\n", &[])]);
    }

    #[test]
    fn a_dashboard_asks_in_panels_annotations_and_variables() {
        let target = json!([{"expr": "rate(a[$__rate_interval])", "legendFormat": "{{server}} {{ tool }}"}]);
        let dashboard = json!({
            "panels": [{"title": "Row", "panels": [{"title": "Panel", "targets": target}]}],
            "annotations": {"list": [{"name": "Starts", "expr": "b"}]},
            "templating": {"list": [{"name": "job", "query": {"query": "label_values(c{x=\"y\"}, job)"}}]},
        });
        assert_eq!(
            of_dashboard(&dashboard.to_string()).expect("it is one"),
            [
                query("Panel", "rate(a[5m])", &["server", "tool"]),
                query("Starts", "b", &[]),
                query("job", "c{x=\"y\"}", &["job"]),
            ]
        );
        assert!(of_dashboard("{}").is_err());
    }
}
