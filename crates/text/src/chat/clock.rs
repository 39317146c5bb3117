//! `strftime` for templates that tell a model the date.

use minijinja::{Error, ErrorKind};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Writes a time, in seconds since 1970, as `format` says, in Python's C locale.
pub(super) fn format(seconds: i64, format: &str) -> Result<String, Error> {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, date) = civil(day);
    let of_year = day - days_before(year) + 1;
    let weekday = (day + 4).rem_euclid(7);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let name = |names: &[&'static str], index: i64| usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or_default();
    let short = |text: &'static str| text.get(..3).unwrap_or(text);
    let twelve = (hour + 11) % 12 + 1;
    let half = if hour < 12 { "AM" } else { "PM" };
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        // `%-d` is the number without its leading zero.
        let mut directive = letters.next();
        let bare = directive == Some('-');
        if bare {
            directive = letters.next();
        }
        let number = |value: i64, width: usize| if bare { value.to_string() } else { format!("{value:0width$}") };
        out += &match directive {
            Some('Y') => number(year, 4),
            Some('y') => number(year.rem_euclid(100), 2),
            Some('m') => number(month, 2),
            Some('d') => number(date, 2),
            Some('e') => format!("{date:2}"),
            Some('j') => number(of_year, 3),
            Some('H') => number(hour, 2),
            Some('I') => number(twelve, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second % 60, 2),
            Some('f') => "000000".into(),
            Some('p') => half.into(),
            Some('B') => name(&MONTHS, month - 1).into(),
            Some('b' | 'h') => short(name(&MONTHS, month - 1)).into(),
            Some('A') => name(&DAYS, weekday).into(),
            Some('a') => short(name(&DAYS, weekday)).into(),
            Some('w') => weekday.to_string(),
            Some('u') => if weekday == 0 { 7 } else { weekday }.to_string(),
            Some('F') => format!("{year:04}-{month:02}-{date:02}"),
            Some('T' | 'X') => format!("{hour:02}:{minute:02}:{:02}", second % 60),
            Some('R') => format!("{hour:02}:{minute:02}"),
            Some('D' | 'x') => format!("{month:02}/{date:02}/{:02}", year.rem_euclid(100)),
            Some('s') => seconds.to_string(),
            Some('Z' | 'z') => String::new(),
            Some('n') => "\n".into(),
            Some('t') => "\t".into(),
            Some('%') => "%".into(),
            other => {
                let shown = other.map(String::from).unwrap_or_default();
                return Err(Error::new(ErrorKind::InvalidOperation, format!("the time directive %{shown} is not known")));
            }
        };
    }
    Ok(out)
}

/// Days from 1970 to the first of January of a year.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 719_162
}

/// Year, month (1 to 12) and date of a day since 1970.
fn civil(day: i64) -> (i64, i64, i64) {
    let mut year = 1970 + day.div_euclid(366);
    while days_before(year + 1) <= day {
        year += 1;
    }
    let leap = i64::from(days_before(year + 1) - days_before(year) == 366);
    let mut left = day - days_before(year);
    let lengths = [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_python() {
        let cases = [
            (1_785_412_862, "%Y-%m-%d %H:%M:%S %A %j %p %I", "2026-07-30 12:01:02 Thursday 211 PM 12"),
            (951_782_400, "%d %b %y, %-d %B, %a %w %u", "29 Feb 00, 29 February, Tue 2 2"),
            (0, "%F %T %e|%x %%", "1970-01-01 00:00:00  1|01/01/70 %"),
            (-1, "%F %T", "1969-12-31 23:59:59"),
            (4_107_542_399, "%F", "2100-02-28"),
            (4_107_542_400, "%F", "2100-03-01"),
        ];
        for (seconds, directives, expected) in cases {
            assert_eq!(format(seconds, directives).unwrap(), expected, "{seconds}");
        }
        assert!(format(0, "%Q").is_err() && format(0, "%").is_err());
    }
}
