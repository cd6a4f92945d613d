//! A time as logs write it, digit by digit: every line has one, and a formatter for calendars costs more than the rest of it.

use std::time::{SystemTime, UNIX_EPOCH};

/// RFC 3339, in UTC, with microseconds.
pub fn rfc_3339_micros(time: SystemTime) -> [u8; 27] {
    // A clock that stands before 1970 is wrong anyway.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let numbers = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, second / 3600),
        (14..16, second / 60 % 60),
        (17..19, second % 60),
        (20..26, since.subsec_micros().into()),
    ];
    for (place, mut number) in numbers {
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    text
}

/// RFC 3339, in UTC, with milliseconds.
pub fn rfc_3339_millis(time: SystemTime) -> [u8; 24] {
    let mut text = [b'Z'; 24];
    text[..23].copy_from_slice(&rfc_3339_micros(time)[..23]);
    text
}

/// Year, month and day of the Gregorian calendar, `days` after 1 January 1970: Howard Hinnant's `civil_from_days`. Years
/// begin in March there, so that the leap day is the last, and come in eras of 400, which are all as long.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, in_next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + in_next, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_that_of_the_calendar() {
        let text = |time| String::from_utf8(rfc_3339_millis(time).into()).expect("ASCII");
        let check = |seconds: u64, expected: &str| {
            assert_eq!(text(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399, "2000-02-28T23:59:59.000Z");
        check(951_782_400, "2000-02-29T00:00:00.000Z");
        check(951_868_800, "2000-03-01T00:00:00.000Z");
        check(1_709_164_800, "2024-02-29T00:00:00.000Z");
        check(1_798_761_599, "2026-12-31T23:59:59.000Z");
        check(1_798_761_600, "2027-01-01T00:00:00.000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000Z");
        assert_eq!(text(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        let micros = rfc_3339_micros(UNIX_EPOCH + Duration::from_micros(1_795_896_000_123_456));
        assert_eq!(&micros, b"2026-11-28T20:00:00.123456Z");
        // Every day of two leap cycles comes one after another.
        let mut last = date(0);
        for days in 1..=2 * 146_097 {
            let next = date(days);
            let follows = next == (last.0, last.1, last.2 + 1)
                || next == (last.0, last.1 + 1, 1)
                || next == (last.0 + 1, 1, 1) && (last.1, last.2) == (12, 31);
            assert!(follows && next.2 <= 31 && next.1 <= 12, "{last:?} {next:?}");
            last = next;
        }
        assert_eq!(last, (2770, 1, 1));
    }
}
