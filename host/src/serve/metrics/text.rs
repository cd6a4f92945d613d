//! Text format 0.0.4, which every scraper reads, from OpenMetrics, which the library writes. They differ in that a
//! counter's family is named without `_total` in OpenMetrics, and in its closing line and units.

/// Pure. Knows counters, gauges and histograms without exemplars; what else is registered one day has to be looked at here.
pub(super) fn of_open_metrics(told: &str) -> String {
    let mut text = String::with_capacity(told.len());
    let mut lines = told.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        // HELP comes right before the TYPE that it has to agree with.
        let kind = lines.peek().and_then(|next| next.strip_prefix("# TYPE ")?.split_once(' '));
        match (help, kind) {
            _ if line == "# EOF" || line.starts_with("# UNIT ") => {}
            (Some((family, help)), Some((same, "counter"))) if family == same => {
                text += &format!("# HELP {family}_total {help}\n# TYPE {family}_total counter\n");
                lines.next();
            }
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_their_samples_and_the_rest_stays() {
        let told = "# HELP a Gauge.\n# TYPE a gauge\na 1\n# HELP b Counter.\n# TYPE b counter\n\
                    b_total{x=\"# EOF\"} 2\n# HELP c_s Time.\n# TYPE c_s gauge\n# UNIT c_s s\nc_s 0.5\n\
                    # HELP d Histogram.\n# TYPE d histogram\nd_sum 1.5\nd_count 1\nd_bucket{le=\"+Inf\"} 1\n# EOF\n";
        assert_eq!(
            of_open_metrics(told),
            "# HELP a Gauge.\n# TYPE a gauge\na 1\n# HELP b_total Counter.\n# TYPE b_total counter\n\
             b_total{x=\"# EOF\"} 2\n# HELP c_s Time.\n# TYPE c_s gauge\nc_s 0.5\n\
             # HELP d Histogram.\n# TYPE d histogram\nd_sum 1.5\nd_count 1\nd_bucket{le=\"+Inf\"} 1\n"
        );
    }
}
