//! Changes are made to registers that remember.

use std::collections::BTreeMap;

use super::*;
use crate::topology::{Identity, Kind};

const ADDRESS: PciDevice = PciDevice::new(0, 0, 0x1c, 2);
/// The bits between the address and the lowest one are reserved.
const RCBA: u32 = 0xfed1_fff1;
const CHIPSET: RegisterSpace = RegisterSpace::Memory(0xfed1_c000);
const CONFIG: RegisterSpace = RegisterSpace::Config(ADDRESS);
const QUIET: BringUp = BringUp { rcba: 0, ats_below: false };

/// Registers, all 0 at first; and how often one was written.
#[derive(Default)]
struct Fake {
    registers: BTreeMap<(u64, u64), u32>,
    writes: usize,
}

/// Configuration space of a function stands where no memory is.
fn place(space: RegisterSpace, offset: u64) -> (u64, u64) {
    match space {
        RegisterSpace::Config(function) => (u64::MAX - u64::from(function.sbdf()), offset),
        RegisterSpace::Memory(base) => (base, offset),
    }
}

impl Fake {
    fn read(&self, space: RegisterSpace, offset: u64) -> u32 {
        self.registers.get(&place(space, offset)).copied().unwrap_or(0)
    }

    fn put(&mut self, space: RegisterSpace, offset: u64, value: u32) -> &mut Self {
        self.registers.insert(place(space, offset), value);
        self
    }

    /// As the embedder is to do it.
    fn make(&mut self, change: RegisterChange) {
        let RegisterChange { space, offset, bytes, clear, set, unless } = change;
        assert!(offset.is_multiple_of(u64::from(bytes)) && [2, 4].contains(&bytes));
        assert!(bytes == 4 || (clear | set) <= 0xffff);
        if unless.is_some_and(|(offset, mask)| self.read(space, offset) & mask == mask) {
            return;
        }
        let old = self.read(space, offset);
        let new = old & !clear | set;
        if new != old {
            self.put(space, offset, new);
            self.writes += 1;
        }
    }

    fn enable(&mut self, function: &Function, around: BringUp) -> usize {
        let before = self.writes;
        enabling(function, around).for_each(|change| self.make(change));
        self.writes - before
    }
}

fn port(device: u16, capability: u16, control: u16) -> Function {
    let [capability, control] = [capability, control].map(AcsBits::from_bits_retain);
    Function {
        kind: Kind::RootPort,
        identity: Identity { vendor: 0x8086, device, ..Identity::default() },
        acs: Acs::Present { capability, control, at: 0x140 },
        ..Function::new(ADDRESS)
    }
}

/// A root port of the X79 chipset.
fn pch_port() -> Function {
    Function { acs: Acs::Absent, ..port(0x1d10, 0, 0) }
}

#[test]
fn a_port_gets_what_it_has_of_what_isolation_asks_for() {
    let mut fake = Fake::default();
    // Direct translated is firmware's, and stays.
    fake.put(CONFIG, 0x146, 0x40);
    assert_eq!(fake.enable(&port(0x3420, 0x5f, 0x40), QUIET), 1);
    assert_eq!(fake.read(CONFIG, 0x146), 0x5f);
    let mut fake = Fake::default();
    fake.enable(&port(0x3420, 0x05, 0), QUIET);
    assert_eq!(fake.read(CONFIG, 0x146), 0x05);
    // All on, or nothing to switch on.
    for on in [port(0x3420, 0x5f, 0x1f), port(0x3420, 0x60, 0), port(0x3420, 0, 0)] {
        assert_eq!(enabling(&on, QUIET).count(), 0, "{:?}", on.acs);
    }
}

#[test]
fn translation_is_blocked_where_nobody_translates_or_the_port_leads_out() {
    let blocks = |function: &Function, ats_below| {
        let mut fake = Fake::default();
        fake.enable(function, BringUp { ats_below, ..QUIET });
        assert_eq!(fake.read(CONFIG, 0x146) & !2, 0x1d);
        fake.read(CONFIG, 0x146) & 2 != 0
    };
    let mut function = port(0x3420, 0x1f, 0);
    assert!(blocks(&function, false));
    assert!(!blocks(&function, true));
    function.traits = Traits::EXTERNAL_FACING;
    assert!(blocks(&function, true));
    function.traits = Traits::ATS;
    assert!(!blocks(&function, false));
}

#[test]
fn a_function_of_which_it_is_not_known_where_its_control_is_stays_as_it_is() {
    let mut function = port(0x3420, 0x1f, 0);
    let [capability, control] = [AcsBits::all(), AcsBits::empty()];
    for acs in [Acs::Unknown, Acs::Absent, Acs::Present { capability, control, at: 0 }] {
        function.acs = acs;
        assert_eq!(enabling(&function, BringUp { rcba: RCBA, ..QUIET }).count(), 0, "{acs:?}");
        assert_eq!(control_register(&function, AcsBits::all(), AcsBits::empty()), None, "{acs:?}");
    }
}

#[test]
fn ports_with_wide_registers_are_changed_two_bytes_later_and_four_at_once() {
    let mut fake = Fake::default();
    fake.put(CONFIG, 0x148, 0x8000_0000);
    fake.enable(&port(0xa110, 0x0f, 0), BringUp { rcba: RCBA, ..QUIET });
    assert_eq!(fake.read(CONFIG, 0x148), 0x8000_000f);
    assert_eq!(fake.writes, 1);
    let off = control_register(&port(0xa110, 0x0f, 0x0f), AcsBits::PEER_TO_PEER, AcsBits::empty());
    assert_eq!(off.map(|off| (off.offset, off.bytes, off.clear)), Some((0x148, 4, 0x2c)));
}

#[test]
fn a_chipset_without_acs_decodes_no_peers_and_its_ports_check_bus_numbers() {
    let mut fake = Fake::default();
    fake.put(CHIPSET, 0x1014, 0x8000_007f).put(CONFIG, 0xd8, 0x1);
    // One of the two is not enough.
    fake.put(CHIPSET, 0x1104, 1 << 9);
    let around = BringUp { rcba: RCBA, ..QUIET };
    assert_eq!(fake.enable(&pch_port(), around), 2);
    assert_eq!(fake.read(CHIPSET, 0x1014), 0x8000_0040);
    assert_eq!(fake.read(CONFIG, 0xd8), 0x0400_0001);
    // Again, or for another port of the chipset that was done.
    assert_eq!(fake.enable(&pch_port(), around), 0);
}

#[test]
fn a_chipset_that_lets_no_peers_through_is_left_as_it_is() {
    let mut fake = Fake::default();
    fake.put(CHIPSET, 0x1014, 0x3f).put(CHIPSET, 0x1104, 3 << 8);
    assert_eq!(fake.enable(&pch_port(), BringUp { rcba: RCBA, ..QUIET }), 1);
    assert_eq!(fake.read(CHIPSET, 0x1014), 0x3f);
    assert_eq!(fake.read(CONFIG, 0xd8), 1 << 26);
}

#[test]
fn chipset_registers_that_are_not_there_are_not_touched() {
    for rcba in [0, RCBA & !1, u32::MAX] {
        assert_eq!(enabling(&pch_port(), BringUp { rcba, ..QUIET }).count(), 0, "{rcba:x}");
    }
    let endpoint = Function { kind: Kind::Endpoint, ..pch_port() };
    assert_eq!(enabling(&endpoint, BringUp { rcba: RCBA, ..QUIET }).count(), 0);
}

#[test]
fn redirection_goes_off_and_on_again_and_nothing_else_does() {
    let mut function = port(0x3420, 0x7f, 0x7d);
    for (on, expected) in [(false, 0x51), (false, 0x51), (true, 0x5d), (true, 0x5d)] {
        let control = redirection(&function, on).unwrap();
        assert_eq!(control.bits(), expected);
        function.acs = function.acs.with_control(control);
    }
}

#[test]
fn only_a_port_that_can_redirect_has_a_switch_for_it() {
    let capability = |capability| redirection(&port(0x3420, capability, 0), true).is_some();
    assert!(capability(0x04) && capability(0x08));
    // Only the vector can be switched: off.
    assert!(!capability(0x20) && redirection(&port(0x3420, 0x20, 0x20), false).is_some());
    assert!(!capability(0x53) && redirection(&port(0x3420, 0x53, 0x53), false).is_none());
    let below = |kind| redirection(&Function { kind, ..port(0x3420, 0x1f, 0) }, false).is_some();
    assert!(below(Kind::DownstreamPort));
    assert!(!below(Kind::UpstreamPort) && !below(Kind::Endpoint));
}
