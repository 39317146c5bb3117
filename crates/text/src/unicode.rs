//! Classes of characters, as the regexes of tokenizers see them.
//!
//! Several tables matter: Oniguruma's (what a regex of a `tokenizer.json` means), llama.cpp's (what a
//! GGUF means), and two of Hugging Face's for BERT. The others are the first of some years ago: code
//! points that have got a class since then have none there. One table holds all, see [`Table`].

use std::sync::OnceLock;

mod table;

/// The general category of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub(crate) enum Class {
    Unassigned,
    Lu,
    Ll,
    Lt,
    Lm,
    Lo,
    Mn,
    Mc,
    Me,
    Nd,
    Nl,
    No,
    Pc,
    Pd,
    Ps,
    Pe,
    Pi,
    Pf,
    Po,
    Sm,
    Sc,
    Sk,
    So,
    Zs,
    Zl,
    Zp,
    Cc,
    Cf,
    Co,
}

/// Whose classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Oniguruma 6.9.10, Unicode 16.
    Oniguruma,
    /// llama.cpp's `unicode-data.cpp`, Unicode 15.
    LlamaCpp,
    /// The crate `unicode_categories`, by which Hugging Face's `BertNormalizer` and punctuation go;
    /// Unicode 8.
    Categories,
    /// The marks of the crate `unicode-normalization-alignments`; Unicode 9.
    Marks,
}

/// A set of classes, and whitespace, as bits.
pub(crate) type Mask = u32;

/// The bit for whitespace, which is no category.
pub(crate) const WHITESPACE: Mask = 1 << 31;
pub(crate) const LETTER: Mask = bits(Class::Lu as u8, Class::Lo as u8);
pub(crate) const MARK: Mask = bits(Class::Mn as u8, Class::Me as u8);
pub(crate) const NUMBER: Mask = bits(Class::Nd as u8, Class::No as u8);
pub(crate) const PUNCTUATION: Mask = bits(Class::Pc as u8, Class::Po as u8);
pub(crate) const SYMBOL: Mask = bits(Class::Sm as u8, Class::So as u8);
pub(crate) const SEPARATOR: Mask = bits(Class::Zs as u8, Class::Zp as u8);
pub(crate) const OTHER: Mask = bits(Class::Cc as u8, Class::Co as u8) | 1 << Class::Unassigned as u8;

const fn bits(first: u8, last: u8) -> Mask {
    let mut out = 0;
    let mut class = first;
    while class <= last {
        out |= 1 << class;
        class += 1;
    }
    out
}

/// The bit of one class.
pub(crate) const fn bit(class: Class) -> Mask {
    1 << class as u8
}

const CLASS: u8 = 0x1f;
const LACKED_BY_LLAMA_CPP: u8 = 0x80;
const LACKED_BY_CATEGORIES: u8 = 0x40;
const LACKED_BY_MARKS: u8 = 0x20;
/// Past the ideographs of plane 2 only a search through the runs is left.
const DIRECT: u32 = 0x3_2000;

/// The class of `c` and whether it is whitespace, as bits.
pub(crate) fn traits(c: char, table: Table) -> Mask {
    let found = byte(c as u32);
    let lacked = match table {
        Table::Oniguruma => 0,
        Table::LlamaCpp => LACKED_BY_LLAMA_CPP,
        Table::Categories => LACKED_BY_CATEGORIES,
        Table::Marks => LACKED_BY_MARKS,
    };
    let class = match (c, table) {
        // These were something else then.
        ('\u{166d}' | '\u{111c9}', Table::Categories) => Class::Po as u8,
        ('\u{1734}', Table::Categories) | ('\u{1cf2}' | '\u{1cf3}', Table::Marks) => Class::Mn as u8,
        _ if found & lacked != 0 => Class::Unassigned as u8,
        _ => found & CLASS,
    };
    let whitespace = if c.is_whitespace() { WHITESPACE } else { 0 };
    1 << class | whitespace
}

fn byte(c: u32) -> u8 {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    if c >= DIRECT {
        let after = table::RUNS.partition_point(|run| run >> 8 <= c);
        return table::RUNS[after - 1] as u8;
    }
    let table = TABLE.get_or_init(|| {
        let mut out = Vec::with_capacity(DIRECT as usize);
        for pair in table::RUNS.windows(2) {
            let end = (pair[1] >> 8).min(DIRECT);
            out.resize(end as usize, pair[0] as u8);
        }
        out
    });
    table[c as usize]
}

/// The classes of a property name as regexes spell it: `L`, `Lu`, `Han` is none.
pub(crate) fn property(name: &str) -> Option<Mask> {
    let one = |class| Some(bit(class));
    match name {
        "L" => Some(LETTER),
        "M" => Some(MARK),
        "N" => Some(NUMBER),
        "P" => Some(PUNCTUATION),
        "S" => Some(SYMBOL),
        "Z" => Some(SEPARATOR),
        "C" => Some(OTHER),
        "Lu" => one(Class::Lu),
        "Ll" => one(Class::Ll),
        "Lt" => one(Class::Lt),
        "Lm" => one(Class::Lm),
        "Lo" => one(Class::Lo),
        "Mn" => one(Class::Mn),
        "Mc" => one(Class::Mc),
        "Me" => one(Class::Me),
        "Nd" => one(Class::Nd),
        "Nl" => one(Class::Nl),
        "No" => one(Class::No),
        "Pc" => one(Class::Pc),
        "Pd" => one(Class::Pd),
        "Ps" => one(Class::Ps),
        "Pe" => one(Class::Pe),
        "Pi" => one(Class::Pi),
        "Pf" => one(Class::Pf),
        "Po" => one(Class::Po),
        "Sm" => one(Class::Sm),
        "Sc" => one(Class::Sc),
        "Sk" => one(Class::Sk),
        "So" => one(Class::So),
        "Zs" => one(Class::Zs),
        "Zl" => one(Class::Zl),
        "Zp" => one(Class::Zp),
        "Cc" => one(Class::Cc),
        "Cf" => one(Class::Cf),
        "Co" => one(Class::Co),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_some_characters() {
        let cases = [
            ('a', bit(Class::Ll)),
            ('Ǆ', bit(Class::Lu)),
            ('ǅ', bit(Class::Lt)),
            ('ʰ', bit(Class::Lm)),
            ('中', bit(Class::Lo)),
            ('\u{301}', bit(Class::Mn)),
            ('٣', bit(Class::Nd)),
            ('Ⅷ', bit(Class::Nl)),
            ('½', bit(Class::No)),
            ('_', bit(Class::Pc)),
            ('€', bit(Class::Sc)),
            ('😀', bit(Class::So)),
            ('\u{a0}', bit(Class::Zs) | WHITESPACE),
            ('\u{85}', bit(Class::Cc) | WHITESPACE),
            ('\u{200b}', bit(Class::Cf)),
            ('\u{10ffff}', bit(Class::Unassigned)),
            ('\u{e000}', bit(Class::Co)),
            ('\u{30000}', bit(Class::Lo)),
        ];
        for (c, expected) in cases {
            assert_eq!(traits(c, Table::Oniguruma), expected, "{c:?}");
        }
    }

    #[test]
    fn the_tables_differ_in_what_is_new() {
        let differing = (0..=0x10ffff).filter_map(char::from_u32).filter(|&c| traits(c, Table::Oniguruma) != traits(c, Table::LlamaCpp));
        assert!(differing.clone().count() > 5000);
        assert!(differing.clone().all(|c| traits(c, Table::LlamaCpp) == bit(Class::Unassigned)));
        assert!(differing.clone().all(|c| c as u32 > 0x377));
    }

    #[test]
    fn the_runs_are_in_order() {
        assert!(table::RUNS.windows(2).all(|pair| pair[0] >> 8 < pair[1] >> 8));
    }
}
