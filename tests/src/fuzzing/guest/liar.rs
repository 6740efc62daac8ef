//! A hypervisor that answers anything: an honest one, whose answers are changed on their way.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use pviommu_abi::{Errno, Subop};
use pviommu_guest::{
    Hypercall,
    dma::Kernel,
    hypercall::{check, set_pointers},
};

use super::{
    ADDRESS,
    honest::{Honest, Means},
    input::Lie,
    witness::{Asked, Witness},
};

/// Calls that no operation takes: it repeats one a thousand times, and has a few in hand.
const CALLS: u32 = 100_000;

/// The hypervisor, and the kernel it is asked by.
#[derive(Clone, Debug)]
pub(super) struct Liar(Rc<State>);

#[derive(Debug)]
pub(super) struct State {
    honest: RefCell<Honest>,
    witness: RefCell<Witness>,
    lies: RefCell<VecDeque<Lie>>,
    /// What every call returns.
    always: Cell<Option<i64>>,
    calls: Cell<u32>,
    /// What the last call returned.
    last: Cell<i64>,
    now_us: Cell<u64>,
    cpu: Cell<usize>,
}

/// Numbers that are not what is expected.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    3,
    7,
    0x7f,
    0x80,
    0x1000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

impl Liar {
    pub(super) fn new(means: Means) -> Self {
        let (honest, witness) = (RefCell::new(Honest::new(means)), RefCell::default());
        let (lies, always, calls) = (RefCell::default(), Cell::new(None), Cell::new(0));
        let (last, now_us, cpu) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Self(Rc::new(State { honest, witness, lies, always, calls, last, now_us, cpu }))
    }

    /// The same, for what must not keep it alive: a buffer may be forgotten.
    pub(super) fn downgrade(&self) -> Weak<State> {
        Rc::downgrade(&self.0)
    }

    /// Another operation begins, and these are its lies.
    pub(super) fn begin(&self, lies: &[Lie]) {
        *self.0.lies.borrow_mut() = lies.iter().copied().collect();
        self.0.always.set(None);
        self.0.calls.set(0);
    }

    /// Calls since the operation began.
    pub(super) fn calls(&self) -> u32 {
        self.0.calls.get()
    }

    /// What the last call returned.
    pub(super) fn last(&self) -> i64 {
        self.0.last.get()
    }

    pub(super) fn pass(&self, microseconds: u64) {
        self.0.now_us.set(self.0.now_us.get().saturating_add(microseconds));
    }

    pub(super) fn run_on(&self, cpu: usize) {
        self.0.cpu.set(cpu);
    }

    /// The hypervisor of this state, if it is there.
    pub(super) fn upgrade(state: &Weak<State>) -> Option<Self> {
        state.upgrade().map(Self)
    }

    /// What the driver may believe.
    pub(super) fn with_witness<R>(&self, look: impl FnOnce(&mut Witness) -> R) -> R {
        look(&mut self.0.witness.borrow_mut())
    }

    /// The lie for this call, if there is one.
    fn lie(&self) -> Option<Lie> {
        let mut lies = self.0.lies.borrow_mut();
        let first = lies.front_mut()?;
        if first.skip > 0 {
            first.skip -= 1;
            return None;
        }
        lies.pop_front()
    }

    fn answer(&self, subop: Subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>) -> i64 {
        let mut honest = self.0.honest.borrow_mut();
        if let Some(ret) = self.0.always.get() {
            return ret;
        }
        let Some(Lie { kind, place, value, .. }) = self.lie() else {
            return honest.serve(subop, arg, buffer, None);
        };
        let (number, errno) = value_of(value);
        let kind = kind % KINDS.len() as u8;
        match kind {
            // It does it, and says that it has not.
            0 => {
                honest.serve(subop, arg, buffer, None);
                errno
            }
            // It does not do it, and says that it has.
            1 => honest.clone().serve(subop, arg, buffer, None),
            2 => errno,
            // No status at all.
            3 => {
                honest.serve(subop, arg, buffer, None);
                if value & 1 == 0 { number as i64 } else { (number as i64).wrapping_neg() }
            }
            // A part.
            4 => honest.serve(subop, arg, buffer, Some(u32::from(value & 0x3f))),
            // Something in the argument, or in what it points to, is another number.
            5 | 6 => {
                let ret = honest.serve(subop, arg, buffer.as_deref_mut(), None);
                scribble(arg, place, number, value);
                if kind == 6 { errno } else { ret }
            }
            7 | 8 => {
                let part = (kind == 8).then_some(u32::from(value & 0x3f));
                let ret = honest.serve(subop, arg, buffer.as_deref_mut(), part);
                scribble(buffer.unwrap_or_default(), place, number, value);
                ret
            }
            // From now on nothing works.
            _ => {
                self.0.always.set(Some(errno.min(-1)));
                errno.min(-1)
            }
        }
    }
}

/// The kinds of lies.
pub(super) const KINDS: [&str; 10] = [
    "it does it, and fails",
    "it does nothing, and succeeds",
    "it does nothing, and fails",
    "it does it, and returns any number",
    "it does a part",
    "it does it, and a word of the argument is another",
    "it does it and fails, and a word of the argument is another",
    "it does it, and a word of what the argument points to is another",
    "it does a part, and a word of what the argument points to is another",
    "it fails, and all calls after it",
];

/// The number and the errno that a lie may tell.
pub(super) fn value_of(value: u16) -> (u64, i64) {
    (NUMBERS[usize::from(value >> 4 & 0xf)], -i64::from(value % 140))
}

/// Writes a number into these bytes, of 4 or 8.
fn scribble(bytes: &mut [u8], place: u16, number: u64, value: u16) {
    let (number, wide) =
        if value & 8 == 0 { (number, value & 1 != 0) } else { (u64::from(value >> 4), false) };
    let words = bytes.len() / 4;
    if words == 0 {
        return;
    }
    let at = usize::from(place) % words * 4;
    let length = if wide { 8 } else { 4 };
    for (byte, new) in bytes[at..].iter_mut().zip(number.to_le_bytes()).take(length) {
        *byte = new;
    }
}

impl Hypercall for Liar {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>) -> i64 {
        self.0.calls.set(self.calls() + 1);
        assert!(self.calls() < CALLS, "calls without end (INV-54)");
        let checked = match &mut buffer {
            Some(buffer) => set_pointers(subop, arg, buffer, ADDRESS),
            None => check(subop, arg, None),
        };
        assert_eq!(checked, Ok(()), "{subop:?} is asked for as no transport can");
        let asked = Asked::new(subop, arg, buffer.as_deref());
        let ret = self.answer(subop, arg, buffer.as_deref_mut());
        let told = buffer.as_deref().unwrap_or_default();
        self.0.witness.borrow_mut().hear(&asked, arg, told, ret);
        self.0.last.set(ret);
        ret
    }
}

impl Kernel for Liar {
    fn cpu(&self) -> usize {
        self.0.cpu.get()
    }

    fn now_us(&self) -> u64 {
        self.0.now_us.get()
    }
}

/// True if a status is one of the ABI.
pub(super) fn is_errno(ret: i64) -> bool {
    Errno::from_ret(ret).is_some()
}
