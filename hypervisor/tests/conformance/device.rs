//! The walk of a device, by what a format says of each word.

use pviommu_hypervisor::{
    addr::Mfn,
    format::{Entry, Format, Leaf, LeafAttributes, pages_at},
    platform::TableRoot,
};

use super::arena::Arena;

/// What a device gets: a leaf as if it mapped this page alone.
pub(crate) type Found = Option<(Leaf, LeafAttributes)>;

/// Walks from `root` to the page of `bfn`, and looks into the CPU's caches or not. It knows no leaves above level
/// `largest`.
pub(crate) fn walk<F: Format>(
    arena: &Arena,
    (root, largest): (TableRoot, u8),
    snoops: bool,
    bfn: u64,
) -> Found {
    let mut table = root.frame;
    for level in (0..root.levels).rev() {
        let index = (bfn >> (F::INDEX_BITS * u32::from(level))) & ((1 << F::INDEX_BITS) - 1);
        let raw = arena.read(table, usize::try_from(index).unwrap(), snoops);
        match F::decode(raw, level) {
            Entry::Empty => return None,
            Entry::Table(next) => table = next,
            Entry::Leaf(leaf) => {
                assert!(level <= largest, "a leaf of level {level} at {bfn:#x}");
                let within = bfn & (pages_at::<F>(level) - 1);
                assert_eq!(
                    leaf.frame.0 % pages_at::<F>(level),
                    0,
                    "the frame of a leaf is aligned"
                );
                let frame = Mfn(leaf.frame.0 + within);
                return Some((Leaf { frame, ..leaf }, F::attributes(raw)));
            }
        }
    }
    panic!("a table entry at the bottom, on the way to {bfn:#x}")
}
