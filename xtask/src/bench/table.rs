//! The table that comes out: text to be pasted.

/// What was measured of one kind of request in one setting.
pub(super) struct Cell {
    /// In the middle of what was measured.
    cost: f64,
    /// In the middle of the ratios of each round.
    ratio: f64,
    /// From the least of the ratios to the most, as a part of that in the middle.
    spread: f64,
}

impl Cell {
    /// `ratios`: of each round, to the setting that all are compared with.
    pub(super) fn new(costs: Vec<f64>, ratios: Vec<f64>) -> Self {
        let (cost, (ratio, spread)) = (middle(costs).0, middle(ratios));
        Self { cost, ratio, spread }
    }
}

/// The median, and how far apart the least and the most are, as a part of it.
fn middle(mut all: Vec<f64>) -> (f64, f64) {
    all.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (all.first(), all.last()) else { return (0.0, 0.0) };
    let median = (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0;
    (median, (most - least) / median)
}

/// A line for each setting; for each kind what it costs, how much more than in the first line, and the ratio to that.
pub(super) fn print_table(what: &str, kinds: &[&str], lines: &[(&str, Vec<Cell>)]) {
    println!("{what} of a request: as it is, more than the first line, ratio to that");
    print!("{:20}", "");
    kinds.iter().for_each(|kind| print!(" | {kind:^23}"));
    println!();
    for (name, cells) in lines {
        print!("{name:20}");
        for (cell, first) in cells.iter().zip(&lines[0].1) {
            print!(" | {:>8} {:>8} {:5.2}", short(cell.cost), short(cell.cost - first.cost), cell.ratio);
        }
        println!();
    }
    let spread = lines.iter().flat_map(|(_, cells)| cells).map(|cell| cell.spread).fold(0.0, f64::max);
    println!("ratios of single rounds are up to {:.1} % apart", spread * 100.0);
}

/// With as many digits as say something.
fn short(number: f64) -> String {
    if number.abs() >= 1000.0 {
        let whole = number.round() as i64;
        return format!("{},{:03}", whole / 1000, whole.abs() % 1000);
    }
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), (2.0, 1.0));
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 3.0]), (2.5, 1.2));
        assert_eq!(middle(Vec::new()), (0.0, 0.0));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(61_234.4), "61,234");
        assert_eq!(short(-2_034.0), "-2,034");
        assert_eq!(short(16.04), "16.0");
        assert_eq!(short(1_000.0), "1,000");
    }
}
