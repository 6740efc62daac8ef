//! The bytes of an input, and the machine and changes they stand for.

use arbitrary::Unstructured;

/// Most items of an input; what is behind is not read.
const ITEMS: usize = 64;
/// Most functions of a machine to begin with: what is asked of each pair is not for more.
pub(super) const FUNCTIONS: usize = 40;
/// Longest run of bytes of configuration space.
const RUN: usize = 64;
/// Most runs.
const RUNS: usize = 32;

/// One input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    /// `AMD`, `AS_IT_IS`.
    pub flags: u8,
    /// What there is, and what happens.
    pub items: Vec<Item>,
}

/// The machine has AMD's table of units.
pub(super) const AMD: u8 = 1 << 0;
/// [`Facts::place`] and [`Facts::buses`] are the numbers of buses. Else the first chooses the bridge above, and
/// the buses of the second that are free behind those in use: so most inputs are machines.
pub(super) const AS_IT_IS: u8 = 1 << 1;

/// One of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Item {
    /// A function, by facts.
    Function(Facts),
    /// A function, by configuration space.
    Config(Config),
    /// Firmware: requests of a function (by its place in the list) carry this id.
    Alias { function: u8, bus: u8, devfn: u8 },
    /// Firmware: a function uses this memory; bit 7 of the number of pages: only until its driver comes.
    Direct { function: u8, page: u8, pages: u8 },
    /// Something changes.
    Change(Change),
}

/// A function, in 13 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Its bus, or the bridge above it.
    pub place: u8,
    /// Device and function.
    pub devfn: u8,
    /// Bits 0 to 3: which kind. Then `BRIDGE`, `VIRTUAL`, `SEGMENT`, `IN_THE_NAME`.
    pub kind: u8,
    /// [`Traits`](pviommu_hypervisor::topology::Traits) in bits 0 to 4, behind no unit, two bits of phantoms.
    pub traits: u8,
    /// Access control: not known, none, or there.
    pub acs: u8,
    /// Its capability.
    pub capability: u8,
    /// And its control.
    pub control: u8,
    /// Which vendor and device.
    pub identity: u8,
    /// Another function, by its place in the list: the physical one, or in whose name it sends.
    pub other: u8,
    /// Two regions, in halves of pages. Of an LPC bridge, the second is the address of the chipset's registers.
    pub regions: [u8; 2],
    /// Secondary and subordinate bus.
    pub buses: [u8; 2],
}

/// It has bus numbers.
pub(super) const BRIDGE: u8 = 1 << 4;
/// It is virtual.
pub(super) const VIRTUAL: u8 = 1 << 5;
/// It is in segment 1.
pub(super) const SEGMENT: u8 = 1 << 6;
/// It sends in the name of another one.
pub(super) const IN_THE_NAME: u8 = 1 << 7;

/// Bit of [`Facts::traits`]: it is behind no unit.
pub(super) const NO_UNIT: u8 = 1 << 5;

/// A function whose facts are read from configuration space.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Where it is, and what its registers do not say: [`Facts::kind`] but for its lower half, `other` and `buses`.
    pub facts: Facts,
    /// How many bytes are shown.
    pub length: u16,
    /// What stands where no run is.
    pub fill: u8,
    /// Runs of bytes.
    pub runs: Vec<(u16, Vec<u8>)>,
}

/// What changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Bits 0 and 1: access control, peer-to-peer, functions come, functions go. `KEEP`, `ALLOWED`.
    pub what: u8,
    /// Which function, by its place among those that are there.
    pub function: u8,
    /// The access control, or another function that goes.
    pub control: u8,
    /// The functions that come.
    pub added: Vec<Facts>,
}

/// The change is kept.
pub(super) const KEEP: u8 = 1 << 2;
/// Peer-to-peer is allowed.
pub(super) const ALLOWED: u8 = 1 << 3;
/// Bits of [`Change::what`] that say which change it is.
pub(super) const WHICH: u8 = 3;
/// Functions come.
pub(super) const ADD: u8 = 2;

impl Config {
    /// The bytes of configuration space.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.fill; usize::from(self.length)];
        for (at, run) in &self.runs {
            for (to, byte) in bytes.iter_mut().skip(usize::from(*at)).zip(run) {
                *to = *byte;
            }
        }
        bytes
    }
}

impl Input {
    /// The input that `data` stands for; every slice stands for one.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let mut rest = Unstructured::new(data);
        let mut input = Self { flags: number(&mut rest), items: Vec::new() };
        while !rest.is_empty() && input.items.len() < ITEMS {
            input.items.push(item(&mut rest));
        }
        input
    }

    /// The bytes that stand for the input.
    ///
    /// # Panics
    /// If a run or a list is too long for the form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.flags];
        for item in &self.items {
            match item {
                Item::Function(facts) => {
                    out.push(0);
                    facts.encode(&mut out);
                }
                Item::Config(config) => config.encode(&mut out),
                Item::Alias { function, bus, devfn } => out.extend([5, *function, *bus, *devfn]),
                Item::Direct { function, page, pages } => out.extend([6, *function, *page, *pages]),
                Item::Change(change) => {
                    out.extend([7, change.what, change.function, change.control]);
                    if change.what & WHICH == ADD {
                        out.push(u8::try_from(change.added.len()).unwrap());
                        change.added.iter().for_each(|facts| facts.encode(&mut out));
                    }
                }
            }
        }
        out
    }
}

/// The next number; zero when there are no bytes left.
fn number<'a, T: arbitrary::Arbitrary<'a> + Default>(rest: &mut Unstructured<'a>) -> T {
    rest.arbitrary().unwrap_or_default()
}

fn item(rest: &mut Unstructured<'_>) -> Item {
    match number::<u8>(rest) % 8 {
        0..=3 => Item::Function(Facts::decode(rest)),
        4 => Item::Config(Config::decode(rest)),
        5 => Item::Alias { function: number(rest), bus: number(rest), devfn: number(rest) },
        6 => Item::Direct { function: number(rest), page: number(rest), pages: number(rest) },
        _ => {
            let (what, function, control) = (number(rest), number(rest), number(rest));
            let count = if what & WHICH == ADD { number::<u8>(rest) % 5 } else { 0 };
            let added = (0..count).map(|_| Facts::decode(rest)).collect();
            Item::Change(Change { what, function, control, added })
        }
    }
}

impl Facts {
    fn decode(rest: &mut Unstructured<'_>) -> Self {
        Self {
            place: number(rest),
            devfn: number(rest),
            kind: number(rest),
            traits: number(rest),
            acs: number(rest),
            capability: number(rest),
            control: number(rest),
            identity: number(rest),
            other: number(rest),
            regions: [number(rest), number(rest)],
            buses: [number(rest), number(rest)],
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Self { place, devfn, kind, traits, acs, capability, control, identity, other, .. } =
            *self;
        out.extend([place, devfn, kind, traits, acs, capability, control, identity, other]);
        out.extend(self.regions);
        out.extend(self.buses);
    }
}

impl Config {
    fn decode(rest: &mut Unstructured<'_>) -> Self {
        let facts = Facts {
            place: number(rest),
            devfn: number(rest),
            kind: number::<u8>(rest) & !0xf,
            other: number(rest),
            buses: [number(rest), number(rest)],
            ..Facts::default()
        };
        let (length, fill) = (number::<u16>(rest) % 4097, number(rest));
        let mut runs = Vec::new();
        for _ in 0..usize::from(number::<u8>(rest)) % (RUNS + 1) {
            let (at, length) = (number(rest), usize::from(number::<u8>(rest)) % (RUN + 1));
            let bytes = rest.bytes(length.min(rest.len())).map(<[u8]>::to_vec);
            runs.push((at, bytes.unwrap_or_default()));
        }
        Self { facts, length, fill, runs }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Facts { place, devfn, kind, other, buses, .. } = self.facts;
        out.extend([4, place, devfn, kind, other, buses[0], buses[1]]);
        out.extend(self.length.to_le_bytes());
        out.push(self.fill);
        assert!(self.runs.len() <= RUNS, "the runs are too many");
        out.push(u8::try_from(self.runs.len()).unwrap());
        for (at, bytes) in &self.runs {
            assert!(bytes.len() <= RUN, "a run is too long");
            out.extend(at.to_le_bytes());
            out.push(u8::try_from(bytes.len()).unwrap());
            out.extend(bytes);
        }
    }
}
