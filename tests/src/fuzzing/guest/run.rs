//! A space, three devices in it, and the operations of an input.

use std::num::NonZeroUsize;

use pviommu_abi::{Bfn, PciDevice};
use pviommu_guest::dma::{Deferral, Device, DmaError, DmaSpace, DmaStorage};

use super::{
    driver::{Devices, Driver, MASK},
    honest::Means,
    input::{Input, Lie, Operation},
    liar::Liar,
    printing::{Shown, ShownLie},
};

/// The devices.
const DEVICES: [PciDevice; 3] =
    [PciDevice::new(0, 0, 1, 0), PciDevice::new(0, 0, 2, 0), PciDevice::new(0, 0, 3, 0)];

/// Mappings that are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// What a hypervisor of this number has.
fn means(number: u8) -> Means {
    let choose = |shift: u8, of: [u32; 4]| of[usize::from(number >> shift & 3)];
    Means {
        extensions: number & 1 == 0,
        elements: choose(1, [128, 2, 5, 1 << 20]),
        element_pages: choose(3, [512, 1, 7, u32::MAX]),
        last: Bfn(choose(5, [0xffff, 0x7f, 0x7ff, 0xf_ffff]).into()),
    }
}

/// Runs `input`, and checks what must hold.
pub(super) fn run(input: &Input, print: bool) {
    let liar = Liar::new(means(input.hypervisor));
    if print {
        println!("{:?}", means(input.hypervisor));
    }
    let (begin, rest) = input.operations.split_at(input.operations.len().min(4));
    let lies = |number: usize| begin.get(number).map_or(&[][..], |it: &Operation| &it.lies);
    let storage = Box::new(DmaStorage::<256, 2>::new());
    let Some(space) = try_twice(&liar, lies(0), print, || DmaSpace::open(liar.clone(), &storage))
    else {
        return;
    };
    let unmaps = if input.hypervisor & 128 == 0 { 128 } else { 3 };
    let space = space.with_deferral(Deferral { unmaps, microseconds: 1000 });
    let attach = |number: usize| -> Option<Device<'_, Liar>> {
        try_twice(&liar, lies(number + 1), print, || space.attach(DEVICES[number], MASK))
    };
    if let (Some(strict), Some(deferred), Some(reusing)) = (attach(0), attach(1), attach(2)) {
        let (deferred, reusing) = (deferred.deferred(), reusing.reusing(KEPT));
        // Nothing is mapped, so what is not free is reserved.
        let free = space.free_pages();
        let devices = Devices { strict: &strict, deferred: &deferred, reusing: &reusing };
        let mut driver = Driver::new(&liar, &space, devices);
        for operation in rest {
            if print {
                println!("{}", Shown(operation));
            }
            liar.begin(&operation.lies);
            let told = driver.apply(operation);
            if print {
                println!("    {told}, {} calls", liar.calls());
            }
        }
        liar.begin(&[]);
        let reserved = driver.end();
        drop(reusing);
        liar.begin(&[]);
        let flushed = space.flush();
        assert_eq!(flushed, Ok(()), "nobody lies any more");
        let lost = space.lost_pages();
        // A range has a power of two of bus frames, if it is small.
        let gone = free - reserved - space.free_pages();
        assert!((lost..=2 * lost).contains(&gone), "{gone} bus frames are gone, {lost} pages lost");
        let left = liar.with_witness(|witness| witness.left());
        assert!(left as u64 <= lost, "{left} bus frames lead somewhere, {lost} pages are lost");
    }
    liar.begin(&[]);
}

/// Does it, and once more without the lies if it fails.
fn try_twice<T>(
    liar: &Liar,
    lies: &[Lie],
    print: bool,
    act: impl Fn() -> Result<T, DmaError>,
) -> Option<T> {
    liar.begin(lies);
    let first = act();
    if print {
        lies.iter().for_each(|lie| println!("    {}", ShownLie(lie)));
        println!("    {:?}, {} calls", first.as_ref().err(), liar.calls());
    }
    liar.begin(&[]);
    first.or_else(|_| act()).ok()
}
