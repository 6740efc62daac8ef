//! Words of page tables: what a fuzzer feeds to the formats, and what must hold.
//!
//! An input is a row of samples of ten bytes: a level, a byte that chooses what an entry is made of, and a word.
//! The word is read as an entry that anybody may have written, and as the frame of one that we write.
//!
//! The oracles, each a panic, in each format:
//!
//! * any word at any level is read without a panic, and only a present one says something (INV-51);
//! * what is read, written again, reads the same, and so do its attributes;
//! * what is written of valid parts reads as these parts, and is present;
//! * soft bits are kept by words that are written, and change nothing else.

use std::fmt;

use pviommu_hypervisor::{
    addr::Mfn,
    format::{Entry, Format, Leaf, LeafAttributes, LeafSoft, SOFT_BITS, TableSoft, pages_at},
    platform::Access,
};

/// Frames have so many bits in both formats.
const FRAME_BITS: u32 = 40;

/// The highest level of a leaf, and that of a table entry.
const HIGHEST: [u8; 2] = [2, 4];

/// Ten bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// At which level.
    pub level: u8,
    /// Bits 0 and 1: the access of a leaf. Bit 2: its attributes. Bits 1 to 7: soft bits.
    pub form: u8,
    /// A word, or a frame.
    pub word: u64,
}

impl Sample {
    const BYTES: usize = 10;

    fn from_bytes(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let word = std::array::from_fn(|at| byte(at + 2));
        Self { level: byte(0), form: byte(1), word: u64::from_le_bytes(word) }
    }

    /// The bytes that stand for it.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [self.level, self.form].into_iter().chain(self.word.to_le_bytes()).collect()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "word {:#018x} at level {}, form {:#04x}", self.word, self.level, self.form)
    }
}

/// Runs one input.
pub(super) fn run(data: &[u8], print: bool) {
    for sample in data.chunks(Sample::BYTES).map(Sample::from_bytes) {
        if print {
            println!("{sample}");
        }
        #[cfg(feature = "vtd")]
        check::<pviommu_hypervisor::format::VtdSecondStage>("VT-d", sample, print);
        #[cfg(feature = "amdvi")]
        check::<pviommu_hypervisor::format::AmdV1>("AMD", sample, print);
    }
}

fn check<F: Format>(name: &str, sample: Sample, print: bool) {
    let entry = F::decode(sample.word, sample.level);
    if print {
        println!("    {name}: {entry:?}");
    }
    any_word_is_read::<F>(sample, entry);
    a_leaf_reads_as_it_was_written::<F>(sample);
    a_table_entry_reads_as_it_was_written::<F>(sample);
}

fn any_word_is_read<F: Format>(Sample { level, word, form }: Sample, entry: Entry) {
    assert!(F::is_present(word) || entry == Entry::Empty, "{word:#x} is not present");
    assert!(F::soft(word) < 1 << SOFT_BITS, "{word:#x} has too many soft bits");
    soft_bits_change_nothing_else::<F>(word, level, form >> 1);
    let attributes = F::attributes(word);
    let again = match entry {
        Entry::Empty => F::EMPTY,
        // There is no such entry to be written.
        Entry::Leaf(leaf) if leaf.access.is_empty() => return,
        Entry::Leaf(leaf) => F::leaf(leaf, level, attributes),
        // Nor a table so high.
        Entry::Table(_) if level > HIGHEST[1] => return,
        Entry::Table(table) => F::table(table, level, TableSoft::from_bits(F::soft(word))),
    };
    assert_eq!(F::decode(again, level), entry, "{again:#x}, of {word:#x} at level {level}");
    if let Entry::Leaf(_) = entry {
        assert_eq!(F::attributes(again), attributes, "{again:#x}, of {word:#x}");
    }
}

fn soft_bits_change_nothing_else<F: Format>(word: u64, level: u8, soft: u8) {
    let all = F::with_soft(word, 0) ^ F::with_soft(word, 0x7f);
    assert_eq!(all.count_ones(), SOFT_BITS, "in {word:#x}");
    let noted = F::with_soft(word, soft);
    assert_eq!(F::soft(noted), soft, "in {word:#x}");
    assert_eq!((noted ^ word) & !all, 0, "bits of {word:#x} that are not soft");
    assert_eq!(F::is_present(noted), F::is_present(word), "{word:#x}");
    assert_eq!(F::attributes(noted), F::attributes(word), "{word:#x}");
    match (F::decode(word, level), F::decode(noted, level)) {
        (Entry::Leaf(plain), Entry::Leaf(leaf)) => {
            let soft = LeafSoft::from_bits(soft);
            assert_eq!(leaf, Leaf { soft, ..plain }, "{noted:#x}, of {word:#x}");
        }
        (plain, noted) => assert_eq!(plain, noted, "{word:#x} at level {level}"),
    }
}

fn a_leaf_reads_as_it_was_written<F: Format>(Sample { level, form, word }: Sample) {
    let level = level % (HIGHEST[0] + 1);
    let access = match form & 3 {
        1 => Access::READ,
        2 => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    let attributes = if form & 4 == 0 { LeafAttributes::empty() } else { LeafAttributes::SNOOP };
    let frame = Mfn(word & ((1 << FRAME_BITS) - 1) & !(pages_at::<F>(level) - 1));
    let leaf = Leaf { frame, access, soft: LeafSoft::from_bits(form >> 1) };
    let raw = F::leaf(leaf, level, attributes);
    assert!(F::is_present(raw), "{leaf:?} at level {level}");
    assert_eq!(F::decode(raw, level), Entry::Leaf(leaf), "{raw:#x} at level {level}");
    assert_eq!(F::attributes(raw), attributes, "{raw:#x}");
    assert_eq!(F::soft(raw), leaf.soft.bits(), "{raw:#x}");
    if level == 0 && frame.0 < (1 << FRAME_BITS) - 1 {
        let next = Leaf { frame: Mfn(frame.0 + 1), ..leaf };
        let added = raw.wrapping_add(F::NEXT_FRAME);
        assert_eq!(added, F::leaf(next, level, attributes), "behind {raw:#x}");
    }
}

fn a_table_entry_reads_as_it_was_written<F: Format>(Sample { level, form, word }: Sample) {
    let level = level % HIGHEST[1] + 1;
    let (frame, soft) = (Mfn(word & ((1 << FRAME_BITS) - 1)), TableSoft::from_bits(form >> 1));
    let raw = F::table(frame, level, soft);
    assert!(F::is_present(raw), "a table of {frame:?} at level {level}");
    assert_eq!(F::decode(raw, level), Entry::Table(frame), "{raw:#x} at level {level}");
    assert_eq!(F::soft(raw), soft.bits(), "{raw:#x}");
}

/// Inputs to begin with: words of the specifications, and those that are none.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Sample>)> {
    let at = |level, form, word| Sample { level, form, word };
    let each_level = |form, word| (0..=5).map(move |level| at(level, form, word)).collect();
    vec![
        ("nothing", each_level(0, 0)),
        ("all-ones", each_level(0xff, u64::MAX)),
        ("vtd-leaf", each_level(0x05, 0x0060_0000_0123_4001)),
        ("vtd-large-leaf", each_level(0x06, 0x0060_0000_4000_0883)),
        ("vtd-table", each_level(0xff, 0x07f0_0000_0abc_d003)),
        ("amd-leaf", each_level(0x0b, 0x2000_0000_0123_400d)),
        ("amd-large-leaf", each_level(0x1f, 0x7000_0000_4000_000d)),
        ("amd-table", (0..=7).map(|next| at(2, 0x7f, 0xe000_0000_0abc_d19f | next << 9)).collect()),
        ("amd-not-present", each_level(0, !1)),
        ("one-bit", (0..64).map(|bit| at(bit as u8 % 5, bit as u8, 1 << bit)).collect()),
    ]
}
