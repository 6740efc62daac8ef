//! Memory that a unit reads and writes: its tables, its queue, its log.
#![expect(
    unsafe_code,
    reason = "a unit reaches memory by its address, and entries change 128 bits at a time"
)]

use super::TABLE_ENTRIES;
use crate::{
    addr::{Mfn, PAGE_SHIFT},
    sync::{AtomicU64, Ordering},
};

/// Whole frames that follow each other, lent to the driver of a unit.
#[derive(Clone, Copy, Debug)]
pub struct UnitMemory<'m> {
    words: &'m [AtomicU64],
    frame: Mfn,
}

impl<'m> UnitMemory<'m> {
    /// `words` are the machine's frames from `frame` on; `None` if they are no whole pages.
    ///
    /// # Safety
    ///
    /// 1. The unit finds `words` in the frames from `frame` on, in this order.
    /// 2. Until the unit has been switched off, nobody but the driver that it is lent to touches them:
    ///    the unit may write there for as long as it is on, also when its driver is gone.
    /// 3. The processor has CMPXCHG16B (CPUID function 1, bit 13 of ECX), if it is an x86-64, as all have
    ///    that come with such units.
    #[must_use]
    pub unsafe fn new(words: &'m [AtomicU64], frame: Mfn) -> Option<Self> {
        let aligned = words.as_ptr().addr().trailing_zeros() >= PAGE_SHIFT;
        let whole = !words.is_empty() && words.len().is_multiple_of(TABLE_ENTRIES);
        (aligned && whole).then_some(Self { words, frame })
    }

    /// The words.
    #[must_use]
    pub const fn words(&self) -> &'m [AtomicU64] {
        self.words
    }

    /// The first frame.
    #[must_use]
    pub const fn frame(&self) -> Mfn {
        self.frame
    }

    /// Where the unit finds the first byte.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.frame.0 << PAGE_SHIFT
    }

    /// How many frames there are, one at least.
    #[must_use]
    pub const fn pages(&self) -> usize {
        self.words.len() / TABLE_ENTRIES
    }

    /// The frame number `page` of these, by itself.
    #[must_use]
    pub fn page(&self, page: usize) -> Option<Self> {
        let words = self.words.chunks_exact(TABLE_ENTRIES).nth(page)?;
        let frame = self.frame.0.checked_add(u64::try_from(page).ok()?)?;
        Some(Self { words, frame: Mfn(frame) })
    }

    /// Word number `word`; 0 if there is none.
    #[must_use]
    pub fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |it| it.load(Ordering::Acquire))
    }

    /// Stores word number `word`, if there is one.
    pub fn store(&self, word: usize, value: u64) {
        if let Some(it) = self.words.get(word) {
            it.store(value, Ordering::Release);
        }
    }

    /// Changes words `2 * pair` and `2 * pair + 1` in one store, from what they are to what `change`
    /// makes of them; what they were. `None`, and nothing is changed, if there is no such pair.
    ///
    /// `change` is called again if somebody else changes them meanwhile.
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    pub fn change_pair(
        &self,
        pair: usize,
        change: impl Fn([u64; 2]) -> [u64; 2],
    ) -> Option<[u64; 2]> {
        let words = self.words.chunks_exact(2).nth(pair)?;
        let [low, high] = words else { return None };
        let mut old = [low.load(Ordering::Acquire), high.load(Ordering::Acquire)];
        loop {
            // SAFETY: the processor has the instruction (promise 3 of `new`).
            let found = unsafe { compare_exchange_pair(words, old, change(old)) }?;
            if found == old {
                return Some(old);
            }
            old = found;
        }
    }
}

/// Stores `new` in two words that begin at a multiple of 16 bytes, if they are `old`; what they were.
///
/// # Safety
///
/// The processor has CMPXCHG16B.
#[cfg(all(target_arch = "x86_64", not(loom)))]
unsafe fn compare_exchange_pair(
    words: &[AtomicU64],
    old: [u64; 2],
    new: [u64; 2],
) -> Option<[u64; 2]> {
    let at = words.as_ptr();
    if words.len() != 2 || !at.addr().is_multiple_of(16) {
        return None;
    }
    let ([mut low, mut high], [new_low, new_high]) = (old, new);
    // In so many words, because the compiler may make the intrinsic a call into a library that is not there;
    // and it keeps RBX for itself.
    // SAFETY: 16 bytes, aligned, of a shared slice of atomics, so they may be written. Others reach each
    // half by an atomic access of 64 bits, which this architecture orders with a locked one of both. The
    // caller promises the instruction, and RBX is as before.
    unsafe {
        core::arch::asm!(
            "xchg rbx, rsi",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            in("rdi") at,
            inout("rsi") new_low => _,
            in("rcx") new_high,
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    Some([low, high])
}

#[cfg(all(test, target_arch = "x86_64", not(loom)))]
mod tests {
    use super::*;

    #[repr(C, align(4096))]
    struct Page([AtomicU64; TABLE_ENTRIES]);

    fn with_page(act: impl FnOnce(UnitMemory<'_>)) {
        let page = Page([const { AtomicU64::new(0) }; TABLE_ENTRIES]);
        // SAFETY: there is no unit.
        act(unsafe { UnitMemory::new(&page.0, Mfn(7)) }.unwrap());
    }

    #[test]
    fn memory_is_whole_pages() {
        with_page(|memory| {
            assert_eq!((memory.address(), memory.pages()), (0x7000, 1));
            assert_eq!(memory.page(0).map(|it| it.frame()), Some(Mfn(7)));
            assert!(memory.page(1).is_none());
            let rest = memory.words().get(1..).unwrap();
            // SAFETY: there is no unit.
            assert!(unsafe { UnitMemory::new(rest, Mfn(7)) }.is_none());
            // SAFETY: as above.
            assert!(unsafe { UnitMemory::new(&[], Mfn(7)) }.is_none());
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no assembly")]
    fn a_pair_changes_at_once_and_alone() {
        with_page(|memory| {
            memory.store(6, 1);
            memory.store(7, 2);
            assert_eq!(memory.change_pair(3, |[low, high]| [high, low]), Some([1, 2]));
            let words: Vec<u64> = (5..9).map(|word| memory.load(word)).collect();
            assert_eq!(words, [0, 2, 1, 0]);
            assert_eq!(memory.change_pair(256, |_| [1, 1]), None);
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no assembly")]
    fn no_change_of_a_pair_is_lost() {
        with_page(|memory| {
            std::thread::scope(|scope| {
                for step in [[1, 0], [0, 1]] {
                    scope.spawn(move || {
                        let [a, b] = step;
                        for _ in 0..10_000 {
                            let _ = memory.change_pair(0, |[low, high]| [low + a, high + b]);
                        }
                    });
                }
            });
            assert_eq!((memory.load(0), memory.load(1)), (10_000, 10_000));
        });
    }
}
