//! A dump says what the units find: it is compared with a reader of tables that knows nothing of the
//! service, entry by entry, and with DMA at every page.

use pviommu_abi::{Bfn, ContextId, Gfn, MapFlags};
use pviommu_hypervisor::{
    DumpLine, ReservedKind,
    addr::{BfnRange, GfnRange, Mfn},
    format::Origin,
    operator::Shown,
    platform::{Access, UnitId},
};
use pviommu_testbed::{
    iommu::{DeviceEntry, Direction},
    machine::{Config, Dice, reserved},
    show::{self, Range, Survey, Target, What, survey},
};

use crate::{
    kit::{DEVICE, GUEST, RW, Vm, over_scratch, with},
    look::{dump, dump_all},
};

fn config() -> Config {
    let mut config = Config::one_guest(4096);
    let block = |gfn| GfnRange::of_pages(Gfn(gfn), 512).unwrap();
    config.domains[0].contiguous = vec![block(512), block(2048)];
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0x8000), 64).unwrap()];
    config.reserved.push(reserved(block_of_bus(0x1b00, 32), ReservedKind::Reserved));
    config
}

fn block_of_bus(first: u64, pages: u64) -> BfnRange {
    BfnRange::of_pages(Bfn(first), pages).unwrap()
}

/// What units find in the table that the entry of the device names.
fn found(vm: &Vm<'_>) -> Survey {
    let entries = vm.bed.board().device_entries(DEVICE);
    let DeviceEntry::Translated { root, .. } = entries[0] else { unreachable!("{entries:?}") };
    let board = vm.bed.board();
    survey(board.memory(), board.unit(UnitId(0)).unwrap().facts(), root)
}

/// The part of a line that a survey has, too, in its words; neighbours that are alike are one.
type Told = (u64, u64, Option<(show::Access, show::Origin, Target, u64)>);

fn join(list: &mut Vec<Told>, (first, last, what): Told) {
    match list.last_mut() {
        Some(end) if end.1 + 1 == first && end.2 == what => end.1 = last,
        _ => list.push((first, last, what)),
    }
}

fn of_dump(lines: &[DumpLine]) -> Vec<Told> {
    let mut list = Vec::new();
    for line in lines {
        let what = match line.shown {
            Shown::Pages { access, origin, mmio, foreign, order, .. } => {
                let access = match (access.contains(Access::READ), access.contains(Access::WRITE)) {
                    (true, true) => show::Access::Both,
                    (true, false) => show::Access::Read,
                    (false, true) => show::Access::Write,
                    (false, false) => show::Access::None,
                };
                let origin = match origin {
                    Origin::Initial => show::Origin::Initial,
                    Origin::Maintained => show::Origin::Maintained,
                    Origin::Guest => show::Origin::Guest,
                    Origin::Reserved => show::Origin::Reserved,
                };
                let target = match (mmio, foreign) {
                    (true, _) => Target::Registers,
                    (_, true) => Target::Foreign,
                    _ => Target::Memory,
                };
                Some((access, origin, target, 1 << order))
            }
            Shown::Blocked => None,
            ref other => unreachable!("{other:?}"),
        };
        join(&mut list, (line.bfns.first().0, line.bfns.last().0, what));
    }
    list
}

fn of_survey(survey: &Survey) -> Vec<Told> {
    let (mut list, mut next) = (Vec::new(), 0);
    let gap = |list: &mut Vec<Told>, first: u64, after: u64| {
        // Over a fault background what is blocked is as vacant as all else.
        if over_scratch() && first < after {
            join(list, (first, after - 1, None));
        }
    };
    for Range { first, last, what, .. } in &survey.ranges {
        gap(&mut list, next, *first);
        next = last + 1;
        match what {
            What::Page(page) => {
                let is = (page.access, page.origin, page.target, page.size.frames());
                join(&mut list, (*first, *last, Some(is)));
            }
            What::Scratch => {}
            What::Broken => unreachable!("{first:#x}-{last:#x}"),
        }
    }
    gap(&mut list, next, 1 << survey.frame_bits);
    list
}

/// Checks that the device reaches the frames that the lines say, where they say that it may.
fn check_frames(vm: &Vm<'_>, lines: &[DumpLine]) {
    for line in lines {
        let Shown::Pages { first: frame, access, .. } = line.shown else { continue };
        for (bfn, frame) in (line.bfns.first().0..=line.bfns.last().0).zip(frame.0..) {
            for (way, right) in [(Direction::Read, Access::READ), (Direction::Write, Access::WRITE)]
            {
                let hit = vm.bed.dma_probe(DEVICE, bfn << 12, way).ok().map(|hit| hit.frame);
                assert_eq!(hit, access.contains(right).then_some(Mfn(frame)), "{line} {bfn:#x}");
            }
        }
    }
}

/// Maps and unmaps at random, as far as that is let.
fn scribble(vm: &Vm<'_>, context: ContextId, dice: &mut Dice) {
    let below = |dice: &mut Dice, bound: usize| dice.below(bound) as u64;
    let at = [0, 0x1a00, 0x4_0000, 0x800_0000, (1 << 36) - 0x400][dice.below(5)];
    let bfn = at + below(dice, 0x400);
    let pages = 1 + below(dice, 40) as u32;
    match dice.below(8) {
        0 => drop(vm.map(context, (bfn | 0x1ff) + 1, [512, 2048][dice.below(2)], 512, RW)),
        1 => drop(vm.map(context, bfn, 0x8000 + below(dice, 24), pages, RW)),
        2 => drop(vm.map(context, bfn, below(dice, 4000), pages, MapFlags::READABLE)),
        3 => drop(vm.map(context, bfn, below(dice, 4000), pages, MapFlags::WRITEABLE)),
        4 | 5 => drop(vm.map(context, bfn, below(dice, 4000), pages, RW)),
        _ => drop(vm.unmap(context, bfn, pages)),
    }
}

#[test]
fn a_dump_is_what_the_units_find_after_any_maps_and_unmaps() {
    for seed in 1..=4 {
        with(&config(), |vm| {
            let context = vm.attached_context();
            let mut dice = Dice::new(seed);
            for _ in 0..12 {
                (0..25).for_each(|_| scribble(vm, context, &mut dice));
                let lines = dump_all(vm, context, 1 + dice.below(90));
                assert_eq!(of_dump(&lines), of_survey(&found(vm)));
                check_frames(vm, &lines);
            }
            assert!(dump_all(vm, context, 64).len() > 20);
            vm.end();
        });
    }
}

#[test]
fn lines_say_frames_access_origin_size_and_what_they_are_of() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x400, 512, 512, RW), (0, 512));
        assert_eq!(vm.map(context, 0x600, 0x8000, 3, MapFlags::READABLE), (0, 3));
        let lines = dump_all(vm, context, 64);
        let said: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let frame = |gfn| vm.bed.board().p2m(GUEST).unwrap().lookup(Gfn(gfn)).unwrap().frame.0;
        let mapped = [
            format!("00000400-000005ff -> {:08x} rw guest 2M", frame(512)),
            format!("00000600-00000602 -> {:08x} r- guest 4K mmio", frame(0x8000)),
        ];
        assert_eq!(said[..2], mapped);
        assert_eq!(said.contains(&"000fee00-000feeff blocked".to_owned()), over_scratch());
        assert_eq!(said.contains(&"00001b00-00001b1f blocked".to_owned()), over_scratch());
        assert!(over_scratch() || said.len() == 2, "{said:?}");
        vm.end();
    });
}

/// A line that begins in the middle of what one entry maps begins with the frame that is there.
#[test]
fn a_dump_may_begin_anywhere_and_with_no_room_at_all() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x400, 512, 512, RW), (0, 512));
        let frame = vm.bed.board().p2m(GUEST).unwrap().lookup(Gfn(512)).unwrap().frame;
        let (_, lines) = dump(vm, context, Bfn(0x47b), 1);
        let Shown::Pages { first, .. } = lines[0].shown else { unreachable!("{lines:?}") };
        assert_eq!((lines[0].bfns.first(), first), (Bfn(0x47b), Mfn(frame.0 + 0x7b)));
        let (dumped, lines) = dump(vm, context, Bfn(0), 0);
        assert_eq!((dumped.next, lines.len()), (Some(Bfn(0x400)), 0), "what is vacant is skipped");
        for beyond in [1 << 36, u64::MAX >> 12, u64::MAX] {
            let (dumped, lines) = dump(vm, context, Bfn(beyond), 4);
            assert_eq!((dumped.next, lines.len()), (None, 0), "{beyond:#x}");
        }
        let domain = vm.bed.domain(GUEST);
        let iommu = vm.bed.iommu();
        let mut room = [DumpLine::EMPTY; 2];
        for (cpu, id) in [(99, context), (0, ContextId(7)), (0, ContextId(999)), (0, ContextId(0))]
        {
            assert_eq!(iommu.dump(domain, cpu, id, Bfn(0), &mut room), None, "{cpu} {id}");
        }
        assert_eq!(room, [DumpLine::EMPTY; 2]);
        vm.end();
    });
}
