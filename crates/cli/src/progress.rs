//! Progress: a bar with rate and remaining time on a terminal, plain lines elsewhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gravure::Observer;
use indicatif::{ProgressBar, ProgressStyle};

use crate::printer::{Level, Printer, bytes};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C and SIGTERM stop the work between two chunks, so that nothing half-written stays. A second
/// one ends the program at once.
pub(crate) fn stop_on_interrupt() {
    // Without a handler the default action ends the program, which is safe too: output has no final name yet.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(gravure::ErrorKind::Interrupted.exit_code()));
        }
    });
}

/// Whether Ctrl-C was pressed.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Forgets that Ctrl-C was pressed: what it stopped was not the program.
pub(crate) fn forget_interrupt() {
    INTERRUPTED.store(false, Ordering::Relaxed);
}

/// Shows progress on standard error.
pub(crate) struct Progress<'a> {
    printer: &'a Printer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    started: Option<Instant>,
    said: Option<Instant>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        Self { printer, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observer for Progress<'_> {
    fn begin(&self, what: &str, _tensors: usize, total_bytes: u64) {
        let mut state = self.state();
        *state = State { total: total_bytes, started: Some(Instant::now()), said: Some(Instant::now()), ..State::default() };
        if self.printer.draws() {
            let bar = ProgressBar::new(total_bytes);
            let style = ProgressStyle::with_template("{prefix} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(what.to_owned());
            state.bar = Some(bar);
        }
    }

    fn advance(&self, tensor: &str, count: u64) {
        let mut state = self.state();
        state.done += count;
        if let Some(bar) = &state.bar {
            bar.set_position(state.done);
            bar.set_message(tensor.to_owned());
        } else if self.printer.level > Level::Quiet && state.said.is_some_and(|s| s.elapsed() > Duration::from_secs(5)) {
            let seconds = state.started.map_or(1.0, |s| s.elapsed().as_secs_f64());
            let rate = state.done as f64 / seconds;
            let left = state.total.saturating_sub(state.done) as f64 / rate.max(1.0);
            let percent = state.done as f64 * 100.0 / state.total.max(1) as f64;
            self.printer.note(&format!("{percent:.0} % done, {}/s, {left:.0} s left", bytes(rate as u64)));
            state.said = Some(Instant::now());
        }
    }

    fn note(&self, text: &str) {
        self.printer.note(text);
    }

    fn end(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn cancelled(&self) -> bool {
        interrupted()
    }
}
