//! Texts that end a reply. They may arrive in pieces, so what may become one is held back.

/// Watches a text for stop strings.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    strings: Vec<String>,
    held: String,
}

/// What came of more text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Text that is part of the reply for certain.
    pub text: String,
    /// The stop string that came after it, which is not part of it.
    pub stopped_by: Option<usize>,
}

impl Stops {
    /// Watches for these; empty ones stop nothing.
    pub fn new(strings: &[String]) -> Self {
        Self { strings: strings.to_vec(), held: String::new() }
    }

    /// Takes more text. After a stop nothing more passes until [`Stops::finish`].
    pub fn push(&mut self, text: &str) -> Passed {
        self.held.push_str(text);
        let watched = || self.strings.iter().enumerate().filter(|(_, s)| !s.is_empty());
        // The one that begins first ends the reply; of several that begin there, the first given.
        let found = watched().filter_map(|(index, s)| self.held.find(s.as_str()).map(|at| (at, index))).min();
        if let Some((at, index)) = found {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(at);
            return Passed { text, stopped_by: Some(index) };
        }
        let may_begin = |tail: &str| watched().any(|(_, s)| s.starts_with(tail));
        let safe = self.held.char_indices().map(|(at, _)| at).find(|at| self.held.get(*at..).is_some_and(may_begin));
        let kept = self.held.split_off(safe.unwrap_or(self.held.len()));
        Passed { text: std::mem::replace(&mut self.held, kept), stopped_by: None }
    }

    /// What was held back, when no more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that passes, and by what it was stopped, where `pieces` arrive one after the other.
    fn pass(strings: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let mut stops = Stops::new(&strings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let mut out = String::new();
        for piece in pieces {
            let passed = stops.push(piece);
            out += &passed.text;
            if passed.stopped_by.is_some() {
                return (out, passed.stopped_by);
            }
        }
        (out + &stops.finish(), None)
    }

    #[test]
    fn stops_are_found_however_the_text_is_cut() {
        let cases: &[(&[&str], &str, &str, Option<usize>)] = &[
            (&["END"], "one END two", "one ", Some(0)),
            (&["END"], "one EN", "one EN", None),
            (&["\n\n", "User:"], "a\nUser: b", "a\n", Some(1)),
            (&["aab"], "aaaab", "aa", Some(0)),
            (&["é!", "x"], "caf\u{e9}!x", "caf", Some(0)),
            (&["long stop", "stop"], "a long stop", "a ", Some(0)),
            (&[""], "text", "text", None),
            (&["ab", "abc"], "xabc", "x", Some(0)),
        ];
        for (strings, text, expected, by) in cases {
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let whole = pass(strings, &[text]);
            let pieces = pass(strings, &letters.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!((whole.0.as_str(), whole.1), (*expected, *by), "{strings:?} in {text:?}");
            // A shorter stop may be complete before a longer one that began with it, or earlier.
            assert_eq!(pieces.0, whole.0, "{strings:?} in the letters of {text:?}");
            assert_eq!(pieces.1.is_some(), by.is_some());
        }
    }

    #[test]
    fn nothing_is_held_back_longer_than_it_must() {
        let mut stops = Stops::new(&["END".to_owned()]);
        assert_eq!(stops.push("a E").text, "a ");
        assert_eq!(stops.push("a").text, "Ea");
        assert_eq!(stops.push("EN").text, "");
        assert_eq!(stops.finish(), "EN");
    }
}
