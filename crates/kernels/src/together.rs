//! Rows of activations in sixes: products of floats and of pairs compute so many together, since their sums fill the registers.

/// Evaluates `$body` for the rows from `$first` on, `$T` of them at a time, until there are `$count`.
macro_rules! together {
    ($count:expr, $first:ident, $T:ident, $body:expr) => {{
        let count = $count;
        let mut $first = 0;
        while $first < count {
            match count - $first {
                1 => together!(@ $T, 1, $body),
                2 => together!(@ $T, 2, $body),
                3 => together!(@ $T, 3, $body),
                4 => together!(@ $T, 4, $body),
                5 => together!(@ $T, 5, $body),
                _ => together!(@ $T, 6, $body),
            }
            $first += 6.min(count - $first);
        }
    }};
    (@ $T:ident, $value:literal, $body:expr) => {{
        const $T: usize = $value;
        $body
    }};
}

pub(crate) use together;
