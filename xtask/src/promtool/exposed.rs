//! What a gateway exposes: names of series and their labels, as text format 0.0.4 tells them.

use std::collections::{BTreeMap, BTreeSet};

use super::{promql::Asked, queries::Query};

/// Labels that a scrape adds to every series.
const OF_A_SCRAPE: [&str; 2] = ["job", "instance"];
/// Series of Prometheus' own, with their labels.
const OF_PROMETHEUS: [(&str, &[&str]); 2] = [("up", &[]), ("ALERTS", &["alertname", "alertstate"])];

/// Labels of series, by name.
#[derive(Debug)]
pub(super) struct Exposed(BTreeMap<String, BTreeSet<String>>);

impl Exposed {
    pub(super) fn parse(text: &str) -> Self {
        let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, labels) in OF_PROMETHEUS {
            series.insert(name.into(), labels.iter().map(|&label| label.into()).collect());
        }
        for line in text.lines() {
            // A family of which there are no series yet has this line all the same.
            if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                let parts: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                for part in parts {
                    series.entry(format!("{family}{part}")).or_default();
                }
            } else if !line.starts_with('#') {
                for selector in Asked::parse(line).selectors {
                    let labels = selector.labels.iter().map(|&label| label.to_owned());
                    series.entry(selector.metric.to_owned()).or_default().extend(labels);
                }
            }
        }
        Self(series)
    }

    /// What `query` asks for, or shows, and is not here.
    pub(super) fn lacks(&self, query: &Query) -> Vec<String> {
        let asked = Asked::parse(&query.expression);
        let mut lacks = Vec::new();
        let mut any = BTreeSet::from(OF_A_SCRAPE.map(str::to_owned));
        for selector in &asked.selectors {
            let Some(labels) = self.0.get(selector.metric) else {
                lacks.push(format!("{}: `{}`", query.name, selector.metric));
                continue;
            };
            let is_there = |label: &&str| labels.contains(*label) || OF_A_SCRAPE.contains(label);
            lacks.extend(
                selector
                    .labels
                    .iter()
                    .filter(|label| !is_there(label))
                    .map(|label| format!("{}: `{}` with the label `{label}`", query.name, selector.metric)),
            );
            any.extend(labels.iter().cloned());
        }
        let shown = query.shown.iter().map(String::as_str);
        let of_no_metric = asked.grouped.iter().copied().chain(shown).filter(|label| !any.contains(*label));
        lacks.extend(of_no_metric.map(|label| format!("{}: the label `{label}`", query.name)));
        lacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{server=\"s\"} 1\n\
                        # TYPE t histogram\nt_bucket{tool=\"x\",le=\"1\"} 1\n# TYPE none gauge\n";

    fn check(expression: &str, shown: &str, lacks: &[&str]) {
        let query = Query { name: "q".into(), expression: expression.into(), shown: vec![shown.into()] };
        assert_eq!(Exposed::parse(TEXT).lacks(&query), lacks, "{expression}");
    }

    #[test]
    fn a_name_or_a_label_that_there_is_not_is_told() {
        check("sum by (server) (a_total{server=\"s\",job=\"g\"})", "server", &[]);
        check("sum by (le) (t_bucket) / t_sum + none", "tool", &[]);
        check("a", "job", &["q: `a`"]);
        check("t", "job", &["q: `t`"]);
        check("a_total{tool=\"x\"}", "job", &["q: `a_total` with the label `tool`"]);
        check("sum by (le) (a_total)", "tool", &["q: the label `le`", "q: the label `tool`"]);
    }
}
