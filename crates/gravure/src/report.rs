//! Reports for people: one self-contained HTML page, and a card in Markdown.

mod card;
mod html;
mod optimized;
mod plot;

pub(crate) use card::card;
pub(crate) use optimized::page;
