//! A unit that fetches and does what is between its head and its tail, in several manners.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by a panic")]

use std::sync::Mutex;

use super::*;

/// How the unit does its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// As soon as the tail is set.
    AtOnce,
    /// When it was looked at so many times.
    After(usize),
    /// Only when a thread drives it.
    Thread,
    Never,
    /// At once, but its head register does not show it.
    HeadStuck,
    /// It writes the cookie of the wait before.
    Stale,
    /// It does all but a wait, says that it has dropped that, and goes on at once.
    DropsOneWait,
    /// It reports an error, and stops.
    Broken,
    /// It is no longer there: its registers read all ones.
    Gone,
}

/// The work that is known by a number.
pub(super) fn work(number: usize) -> Command {
    [number as u64, WORK]
}

const WORK: u64 = 1;
const WAIT: u64 = 2;

pub(super) struct Fake<'m> {
    ring: &'m [AtomicU64],
    status: &'m [AtomicU64],
    state: Mutex<State>,
}

struct State {
    manner: Manner,
    head: usize,
    tail: usize,
    looked: usize,
    dropped: u64,
    /// Most entries that it was told of at once.
    longest: usize,
    done: Vec<usize>,
    cookies: Vec<u32>,
}

impl<'m> Fake<'m> {
    pub(super) fn new(ring: &'m [AtomicU64], status: &'m [AtomicU64]) -> Self {
        let (done, cookies) = (Vec::new(), Vec::new());
        let manner = Manner::AtOnce;
        let (head, tail, looked, dropped, longest) = (0, 0, 0, 0, 0);
        let state = State { manner, head, tail, looked, dropped, longest, done, cookies };
        Self { ring, status, state: Mutex::new(state) }
    }

    pub(super) fn set(&self, manner: Manner) {
        let mut state = self.state.lock().unwrap();
        state.manner = manner;
        state.looked = 0;
    }

    /// Numbers of the work that is done.
    pub(super) fn done(&self) -> Vec<usize> {
        self.state.lock().unwrap().done.clone()
    }

    pub(super) fn has_done(&self, number: usize) -> bool {
        self.state.lock().unwrap().done.contains(&number)
    }

    /// Most entries that it was told of at once.
    pub(super) fn longest(&self) -> usize {
        self.state.lock().unwrap().longest
    }

    /// Cookies of all waits it was asked for.
    pub(super) fn cookies(&self) -> Vec<u32> {
        self.state.lock().unwrap().cookies.clone()
    }

    /// It was switched off and on.
    pub(super) fn restart(&self) {
        let mut state = self.state.lock().unwrap();
        (state.head, state.tail) = (0, 0);
    }

    /// Does what its manner lets it do.
    pub(super) fn run(&self) {
        let mut state = self.state.lock().unwrap();
        use Manner::{AtOnce, DropsOneWait, HeadStuck, Stale};
        if matches!(state.manner, AtOnce | DropsOneWait | HeadStuck | Stale) {
            self.do_all(&mut state);
        }
    }

    /// Does all that is between head and tail, whatever its manner.
    pub(super) fn run_now(&self) {
        self.do_all(&mut self.state.lock().unwrap());
    }

    fn do_all(&self, state: &mut State) {
        while state.head != state.tail {
            let [low, high] =
                [0, 1].map(|half| self.ring[2 * state.head + half].load(Ordering::Acquire));
            match high & 0xff {
                WORK => state.done.push(low as usize),
                WAIT if state.manner == Manner::DropsOneWait => {
                    state.dropped += 1;
                    state.manner = Manner::AtOnce;
                }
                WAIT => {
                    let cookie = if state.manner == Manner::Stale { low - 1 } else { low };
                    self.status[(high >> 8) as usize].store(cookie, Ordering::Release);
                }
                _ => panic!("a command that nobody has stored"),
            }
            // What was fetched is not fetched again.
            self.ring[2 * state.head + 1].store(0, Ordering::Relaxed);
            state.head = (state.head + 1) % (self.ring.len() / 2);
        }
    }
}

impl Registers for Fake<'_> {
    fn head(&self) -> Result<usize, UnitError> {
        let mut state = self.state.lock().unwrap();
        state.looked += 1;
        match state.manner {
            Manner::Broken => return Err(UnitError),
            Manner::Gone => return Ok(usize::MAX),
            Manner::HeadStuck => return Ok(0),
            Manner::After(looks) if state.looked > looks => self.do_all(&mut state),
            _ => {}
        }
        Ok(state.head)
    }

    fn set_tail(&self, entry: usize) {
        {
            let mut state = self.state.lock().unwrap();
            let entries = self.ring.len() / 2;
            let more = (entry + entries - state.tail) % entries;
            state.longest = state.longest.max(more);
            state.tail = entry;
        }
        self.run();
    }

    fn wait_command(&self, status: usize, cookie: u32) -> Command {
        self.state.lock().unwrap().cookies.push(cookie);
        [u64::from(cookie), WAIT | (status as u64) << 8]
    }

    fn dropped_waits(&self) -> u64 {
        self.state.lock().unwrap().dropped
    }
}
