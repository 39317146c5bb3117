//! A thread pool for work that lasts microseconds: a token of decode is hundreds of small parallel
//! loops, so workers spin for a while before they park.
//!
//! One loop runs at a time. The caller works too; a worker that is late (because the system runs
//! something else) is not waited for unless it has taken a task.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

/// Checks of a spinning worker before it parks: some tens of microseconds.
const SPINS: u32 = 20_000;

/// Bits of the state: how many workers have joined the loop, whether it still takes workers, and the
/// loop's number.
const JOINED: u64 = 0xFFFF;
const OPEN: u64 = 1 << 16;
const NEXT_LOOP: u64 = 1 << 17;

type Body<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    state: AtomicU64,
    /// The body of the loop that is open.
    body: UnsafeCell<Option<*const Body<'static>>>,
    tasks: AtomicUsize,
    next: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    parked: Vec<AtomicBool>,
}

// SAFETY: `body` is written by the one caller that holds the pool's lock, while no worker has joined,
// and read by workers after they have joined an open loop, which `state` orders after the write.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `body` refers to something `Sync`.
unsafe impl Send for Shared {}

/// Threads that run loops together with their caller.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    running: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller's among them; fewer where the system gives no more.
    pub fn new(threads: usize) -> Self {
        let workers = threads.clamp(1, 1024) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            body: UnsafeCell::new(None),
            tasks: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            parked: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let workers: Vec<JoinHandle<()>> = (0..workers)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("gravure-{i}")).spawn(move || shared.work(i)).ok()
            })
            .collect();
        let handles = workers.iter().map(|w| w.thread().clone()).collect();
        Self { shared, workers, handles, running: Mutex::new(()) }
    }

    /// Threads that a loop runs on.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body` once for each number below `tasks`, on all threads, and returns when all calls
    /// have. Tasks are handed out in order. Must not be called from within a body.
    ///
    /// # Panics
    /// Where a body does.
    pub fn run(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(body);
            return;
        }
        let _running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime is changed; every worker that could call the body has left the loop
        // before this function returns or unwinds.
        let erased = unsafe { std::mem::transmute::<*const Body<'_>, *const Body<'static>>(std::ptr::from_ref(body)) };
        // SAFETY: the loop is closed and nobody has joined it, so nobody reads.
        unsafe { *shared.body.get() = Some(erased) };
        shared.tasks.store(tasks, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        let number = shared.state.load(Ordering::Relaxed) & !(JOINED | OPEN);
        shared.state.store(number.wrapping_add(NEXT_LOOP) | OPEN, Ordering::SeqCst);
        for (parked, handle) in shared.parked.iter().zip(&self.handles) {
            if parked.load(Ordering::SeqCst) {
                handle.unpark();
            }
        }
        shared.drain(body);
        let mut state = shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0_u32;
        while state & JOINED != 0 {
            spins += 1;
            if spins.is_multiple_of(1024) {
                std::thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
            state = shared.state.load(Ordering::Acquire);
        }
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a task of the pool panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.handles.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn drain(&self, body: &Body<'_>) {
        let tasks = self.tasks.load(Ordering::Relaxed);
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| body(task))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
    }

    fn work(&self, index: usize) {
        let mut last = 0;
        let mut spins = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let state = self.state.load(Ordering::Acquire);
            if state & OPEN == 0 || state & !(JOINED | OPEN) == last {
                self.rest(index, &mut spins, last);
                continue;
            }
            if self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            last = state & !(JOINED | OPEN);
            // SAFETY: this worker has joined an open loop: its body was written before, and the caller
            // keeps it alive until every worker has left.
            if let Some(body) = unsafe { *self.body.get() } {
                // SAFETY: as above.
                self.drain(unsafe { &*body });
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
            spins = 0;
        }
    }

    /// Spins, and parks after a while.
    fn rest(&self, index: usize, spins: &mut u32, last: u64) {
        if *spins < SPINS {
            *spins += 1;
            std::hint::spin_loop();
            return;
        }
        let Some(parked) = self.parked.get(index) else { return };
        parked.store(true, Ordering::SeqCst);
        let state = self.state.load(Ordering::SeqCst);
        if (state & OPEN == 0 || state & !(JOINED | OPEN) == last) && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        parked.store(false, Ordering::SeqCst);
        *spins = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 100] {
                for _ in 0..200 {
                    let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(tasks, &|i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn workers_wake_from_their_sleep() {
        let pool = Pool::new(2);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            pool.run(1000, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 499_500);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        let result = catch_unwind(AssertUnwindSafe(|| pool.run(10, &|i| assert_ne!(i, 5))));
        assert!(result.is_err());
        let count = AtomicUsize::new(0);
        pool.run(10, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 10);
    }
}
