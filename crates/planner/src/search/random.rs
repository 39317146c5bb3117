//! Points drawn evenly, none twice: what every other sampler has to be better than (Bergstra and Bengio, "Random
//! Search for Hyper-Parameter Optimization", JMLR 13, 2012).

use gravure_core::Result;

use super::ledger::Ledger;
use super::sampler::{Ask, Outcome, Sampler, SamplerKind, Settings};
use super::space::Space;

/// The kind.
#[derive(Debug)]
pub struct Random;

impl SamplerKind for Random {
    fn id(&self) -> &'static str {
        "random"
    }

    fn doc(&self) -> &'static str {
        "points drawn evenly, none twice"
    }

    fn start(&self, space: &Space, settings: &Settings) -> Result<Box<dyn Sampler>> {
        Ok(Box::new(Drawn { ledger: Ledger::new(space, settings.seed), settings: settings.clone() }))
    }
}

#[derive(Debug)]
struct Drawn {
    ledger: Ledger,
    settings: Settings,
}

impl Sampler for Drawn {
    fn ask(&mut self, id: u64) -> Ask {
        match self.ledger.fresh() {
            Some(point) => Ask::Trial(self.ledger.ask_full(id, point, self.settings.fidelity)),
            None => Ask::Done,
        }
    }

    fn tell(&mut self, id: u64, outcome: &Outcome) {
        self.ledger.tell(id, outcome);
    }
}
