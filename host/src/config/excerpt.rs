//! The part of the text that a problem is about, ready to print above a line of carets.
//!
//! In:   the whole text and a byte range of it.
//! Out:  the column, the line as a terminal can show it, and where the carets go.
//! Never: fails; a range past the end is moved to the end of the text.

use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Wider lines are cut around the marked part.
const WIDEST: usize = 120;
/// What a cut line keeps before the marked part, and of the marked part itself.
const KEPT_BEFORE: usize = 40;
const KEPT_MARKED: usize = 60;

/// One line of the text with a part of it marked.
pub(super) struct Excerpt {
    /// Counted from 1, in characters.
    pub(super) column: usize,
    /// The line, free of tabs and of characters that would move the terminal's cursor.
    pub(super) shown: String,
    /// Columns of `shown` that lie before the marked part.
    pub(super) blanks: usize,
    /// Columns of the marked part; at least one.
    pub(super) carets: usize,
}

impl Excerpt {
    /// A range over several lines is cut at the end of its first line.
    pub(super) fn of(text: &str, range: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(range.start.min(text.len()));
        let from = line_start(text, start);
        let to = text[start..].find('\n').map_or(text.len(), |length| start + length);
        let to = from + text[from..to].trim_end_matches('\r').len();
        let start = start.min(to);
        let end = text.ceil_char_boundary(range.end.min(to)).clamp(start, to);

        let mut before = visible(&text[from..start]);
        let mut marked = visible(&text[start..end]);
        let mut after = visible(&text[end..to]);
        if before.width() + marked.width() + after.width() > WIDEST {
            before = keep_end(&before, KEPT_BEFORE);
            marked = keep_start(&marked, KEPT_MARKED);
            after = keep_start(&after, WIDEST - before.width() - marked.width());
        }
        Self {
            column: text[from..start].chars().count() + 1,
            blanks: before.width(),
            carets: marked.width().max(1),
            shown: before + &marked + &after,
        }
    }
}

/// Where each line of a text ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line that byte `at` lies on, counted from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        1 + self.0.partition_point(|newline| *newline < at)
    }
}

/// `value` between backticks, on one line and not longer than a person wants to read.
pub(super) fn quoted(value: &str) -> String {
    format!("`{}`", keep_start(&visible(value), KEPT_MARKED))
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push_str("    "),
            c if hidden(c) => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
    }
    shown
}

fn keep_start(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn keep_end(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    let kept: Vec<char> = text.chars().rev().take_while(fits).collect();
    ['…'].into_iter().chain(kept.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, marked: &str, expected: [&str; 2]) {
        let start = text.find(marked).expect("the test marks a part of its text");
        let excerpt = Excerpt::of(text, &(start..start + marked.len()));
        let carets = " ".repeat(excerpt.blanks) + &"^".repeat(excerpt.carets);
        assert_eq!([excerpt.shown.as_str(), &carets], expected);
    }

    #[test]
    fn carets_stand_under_the_marked_part() {
        check("a = 1\nb = two\nc = 3", "two", ["b = two", "    ^^^"]);
        check("\tb =\ttwo\r\n", "two", ["    b =    two", "           ^^^"]);
        check("\"名前\" = two", "two", ["\"名前\" = two", "         ^^^"]);
        check("a = \"名前\"", "名前", ["a = \"名前\"", "     ^^^^"]);
        check("a = '''x\ny'''", "'''x\ny'''", ["a = '''x", "    ^^^^"]);
    }

    #[test]
    fn a_long_line_is_cut_on_both_sides_of_the_marked_part() {
        let text = format!("{}HERE{}", "x".repeat(500), "y".repeat(500));
        let shown = format!("…{}HERE{}…", "x".repeat(39), "y".repeat(75));
        check(&text, "HERE", [&shown, &format!("{}^^^^", " ".repeat(40))]);
    }

    #[test]
    fn a_range_past_the_end_shows_the_last_line() {
        let excerpt = Excerpt::of("a = 1\nb =", &(99..100));
        assert_eq!((excerpt.column, excerpt.blanks, excerpt.shown.as_str()), (4, 3, "b ="));
    }

    #[test]
    fn a_byte_lies_on_the_line_before_its_newline() {
        let lines = Lines::of("a\n\nb");
        assert_eq!([0, 1, 2, 3, 99].map(|at| lines.line_of(at)), [1, 1, 2, 3, 3]);
    }

    #[test]
    fn nothing_in_the_text_can_move_the_cursor() {
        assert_eq!(quoted("a\x1b[2J\u{202e}b\nc"), "`a\u{fffd}[2J\u{fffd}b\u{fffd}c`");
    }
}
