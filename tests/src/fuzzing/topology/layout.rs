//! From items to a machine: each function gets its number, and bridges their buses.

use std::collections::BTreeSet;

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    platform::{Access, SourceId},
    topology::{
        BusNumbers, ConfigError, DirectRange, Firmware, Function, IdAlias, Traits, Window,
        virtual_functions,
    },
};

use super::input::{
    AMD, AS_IT_IS, Config, FUNCTIONS, Facts, IN_THE_NAME, Input, Item, SEGMENT, VIRTUAL,
};

/// What an input stands for.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) functions: Vec<Function>,
    pub(super) aliases: Vec<IdAlias>,
    pub(super) direct: Vec<DirectRange>,
    pub(super) amd_ivrs: bool,
}

/// A function without a number.
struct Draft {
    facts: Facts,
    /// As registers say it.
    read: Option<Function>,
    /// The bridge above, by its place in the list.
    parent: Option<usize>,
    /// The physical function of a virtual one, likewise.
    physical: Option<usize>,
}

impl Machine {
    pub(super) fn of(input: &Input) -> Self {
        let drafts = drafts(input);
        let as_it_is = input.flags & AS_IT_IS != 0;
        let mut functions =
            if as_it_is { as_they_are(&drafts) } else { Numbers::default().give(&drafts) };
        name_others(&drafts, &mut functions, as_it_is);
        let functions: Vec<_> = functions.into_iter().flatten().collect();
        let mut machine = Self { functions, amd_ivrs: input.flags & AMD != 0, ..Self::default() };
        input.items.iter().for_each(|item| machine.tell(item));
        machine.aliases.sort_by_key(|alias| alias.id.0.sbdf());
        machine.direct.sort_by_key(|range| range.bytes.first);
        machine
    }

    pub(super) fn firmware(&self) -> Firmware<'_> {
        Firmware { aliases: &self.aliases, direct: &self.direct, amd_ivrs: self.amd_ivrs }
    }

    /// Notes what firmware says.
    fn tell(&mut self, item: &Item) {
        let named = |number: u8| {
            let place = usize::from(number).checked_rem(self.functions.len())?;
            Some(self.functions[place].address)
        };
        match *item {
            Item::Alias { function, bus, devfn } => {
                let Some(function) = named(function) else { return };
                let id = SourceId(PciDevice { seg: function.seg, bus, devfn });
                self.aliases.push(IdAlias { function, id });
            }
            Item::Direct { function, page, pages } => {
                let Some(function) = named(function) else { return };
                let first = u64::from(page) << 12;
                let bytes = Window { first, last: first + (u64::from(pages & 0x7f) << 12) + 0xfff };
                let (relaxable, access) = (pages & 0x80 != 0, Access::READ | Access::WRITE);
                self.direct.push(DirectRange { function, bytes, relaxable, access });
            }
            Item::Function(_) | Item::Config(_) | Item::Change(_) => {}
        }
    }
}

fn drafts(input: &Input) -> Vec<Draft> {
    let (mut drafts, mut bridges, mut real) = (Vec::new(), Vec::new(), Vec::new());
    for item in &input.items {
        let (facts, read) = match item {
            Item::Function(facts) => (*facts, None),
            Item::Config(config) => match read(config) {
                Some(function) => (config.facts, Some(function)),
                None => continue,
            },
            Item::Alias { .. } | Item::Direct { .. } | Item::Change(_) => continue,
        };
        if drafts.len() == FUNCTIONS {
            break;
        }
        let function = read.unwrap_or_else(|| facts.function(at(&facts)));
        let mut draft = Draft { facts, read, parent: None, physical: None };
        let may_be_virtual = facts.has(VIRTUAL) || function.is_virtual();
        if may_be_virtual && !real.is_empty() {
            let physical = real[usize::from(facts.other) % real.len()];
            draft.physical = Some(physical);
            draft.parent = drafts.get(physical).and_then(|it: &Draft| it.parent);
        } else {
            let place = usize::from(facts.place) % (bridges.len() + 1);
            draft.parent = place.checked_sub(1).map(|place| bridges[place]);
            real.push(drafts.len());
        }
        if function.buses.is_some() {
            bridges.push(drafts.len());
        }
        drafts.push(draft);
    }
    drafts
}

/// The number that the facts say.
fn at(facts: &Facts) -> PciDevice {
    let seg = u16::from(facts.has(SEGMENT));
    PciDevice { seg, bus: facts.place, devfn: facts.devfn }
}

/// What configuration space shows, if it is a function's; a look at its virtual functions, too.
fn read(config: &Config) -> Option<Function> {
    let bytes = config.bytes();
    let address = at(&config.facts);
    if let Some(virtual_functions) = virtual_functions(&bytes) {
        assert!(virtual_functions.addresses(address).count() <= usize::from(u16::MAX));
    }
    match Function::from_config(address, &bytes) {
        Ok(function) => Some(function),
        Err(error) => {
            assert_eq!(error == ConfigError::TooShort, bytes.len() < 64, "{error}");
            None
        }
    }
}

impl Draft {
    fn function(&self, address: PciDevice, buses: Option<BusNumbers>) -> Function {
        let mut function = match self.read {
            Some(read) => Function { address, ..read },
            None => self.facts.function(address),
        };
        function.buses = buses;
        function
    }

    fn is_bridge(&self) -> bool {
        self.buses().is_some()
    }

    fn buses(&self) -> Option<BusNumbers> {
        self.read.map_or_else(|| self.facts.buses(), |read| read.buses)
    }
}

fn as_they_are(drafts: &[Draft]) -> Vec<Option<Function>> {
    drafts.iter().map(|draft| Some(draft.function(at(&draft.facts), draft.buses()))).collect()
}

/// Gives numbers from the root down: a machine in which all is where it can be.
#[derive(Default)]
struct Numbers {
    taken: BTreeSet<(u16, u8, u8)>,
    given: Vec<Option<Function>>,
    next_bus: u8,
}

/// Buses that are not given away, so that some are left for what comes later.
const LEFT: u8 = 16;

impl Numbers {
    fn give(mut self, drafts: &[Draft]) -> Vec<Option<Function>> {
        self.given = vec![None; drafts.len()];
        for seg in 0..2 {
            self.next_bus = 0;
            self.bus(drafts, None, seg, 0);
        }
        // What is virtual comes last: it goes where there is room.
        for (place, draft) in drafts.iter().enumerate() {
            let Some(physical) = draft.physical.and_then(|physical| self.given[physical]) else {
                continue;
            };
            let above = draft.parent.and_then(|parent| self.given[parent]).and_then(|it| it.buses);
            let spare =
                above.filter(|it| draft.facts.place & 1 == 1 && it.subordinate > it.secondary);
            // The last one is free, if any is.
            let last = spare.map(|it| it.subordinate).filter(|bus| !self.leads_to(drafts, *bus));
            let bus = last.unwrap_or(physical.address.bus);
            self.put(place, draft, (physical.address.seg, bus), None);
        }
        self.given
    }

    fn leads_to(&self, drafts: &[Draft], bus: u8) -> bool {
        let bridges = drafts.iter().zip(&self.given).filter(|(draft, _)| draft.is_bridge());
        let mut buses = bridges.filter_map(|(_, given)| given.and_then(|it| it.buses));
        buses.any(|buses| buses.secondary == bus)
    }

    /// Puts what is right below `parent` on `bus`.
    fn bus(&mut self, drafts: &[Draft], parent: Option<usize>, seg: u16, bus: u8) {
        for (place, draft) in drafts.iter().enumerate() {
            let segment = u16::from(draft.facts.has(SEGMENT));
            if draft.physical.is_some()
                || draft.parent != parent
                || (parent.is_none() && segment != seg)
            {
                continue;
            }
            let mut buses = draft.buses();
            if buses.is_some() {
                let secondary = if self.next_bus < u8::MAX - LEFT { self.next_bus + 1 } else { 0 };
                buses = Some(BusNumbers { secondary, subordinate: secondary });
            }
            self.put(place, draft, (seg, bus), buses);
            let Some(BusNumbers { secondary, .. }) = buses.filter(|it| it.secondary != 0) else {
                continue;
            };
            self.next_bus = secondary;
            self.bus(drafts, Some(place), seg, secondary);
            self.next_bus = self.next_bus.saturating_add(draft.facts.buses[1] % 3);
            let subordinate = self.next_bus;
            if let Some(given) = &mut self.given[place] {
                given.buses = Some(BusNumbers { secondary, subordinate });
            }
        }
    }

    /// Where it wants to be on the bus, or behind that.
    fn put(&mut self, place: usize, draft: &Draft, on: (u16, u8), buses: Option<BusNumbers>) {
        let wanted = (0..=u8::MAX).map(|step| draft.facts.devfn.wrapping_add(step));
        let (seg, bus) = on;
        if let Some(devfn) = { wanted }.find(|devfn| self.taken.insert((seg, bus, *devfn))) {
            self.given[place] = Some(draft.function(PciDevice { seg, bus, devfn }, buses));
        }
    }
}

/// Says of each function whose it is, and in whose name it sends.
fn name_others(drafts: &[Draft], functions: &mut [Option<Function>], as_it_is: bool) {
    let addresses: Vec<_> = functions.iter().map(|it| it.map(|it| it.address)).collect();
    for (draft, function) in drafts.iter().zip(functions) {
        let Some(function) = function else { continue };
        let physical = draft.physical.and_then(|physical| addresses[physical]);
        // As it is, one of which nothing is known may stay virtual of nobody.
        if physical.is_some() || !as_it_is {
            function.traits.set(Traits::VIRTUAL, physical.is_some());
        }
        function.physical = physical;
        if draft.facts.has(IN_THE_NAME) {
            function.requests_as = addresses[usize::from(draft.facts.other) % addresses.len()];
        }
    }
}
