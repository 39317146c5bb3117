//! Reports for people: one self-contained HTML page, and a card in Markdown.

mod bitmap;
mod card;
mod compared;
mod html;
mod optimized;
mod plot;
mod searched;

pub(crate) use card::card;
pub(crate) use compared::comparison_page;
pub(crate) use optimized::page;
pub(crate) use searched::searched;
