//! Devices and the default context, against hypervisors that answer well and badly.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use pviommu_abi::{
    Argument, Background, ContextId, DeviceFlags, DeviceHandle, DeviceKind, DomId, Errno,
    OwnershipMode, PciDevice, QueryDevice, Subop, TakeOwnership,
};
use pviommu_guest::hypercall::check;
use pviommu_guest::{BadReply, DeviceInfo, DevicePlace, Error, Hypercall, IommuClient};

/// A hypervisor that answers the calls with an `A`, and lets `edit` fill it in.
fn client<A: Argument>(edit: impl Fn(&mut A) -> i64) -> IommuClient<impl Hypercall> {
    IommuClient::new(move |subop, arg: &mut [u8], buffer: Option<&mut [u8]>| {
        assert_eq!(subop, A::SUBOP);
        assert_eq!(check(subop, arg, buffer.as_deref()), Ok(()));
        edit(A::mut_from_bytes(arg).unwrap())
    })
}

fn device() -> DeviceHandle {
    DeviceHandle::pci(PciDevice::new(0, 2, 0, 1))
}

/// What the client makes of a good answer that `edit` changed.
fn told(edit: impl Fn(&mut QueryDevice)) -> Result<DeviceInfo, Error> {
    let iommu = client(|call: &mut QueryDevice| {
        assert_eq!(*call, QueryDevice { device: device(), ..QueryDevice::default() });
        (call.group, call.moves_with, call.ctx_id) = (u64::MAX, 7, 3);
        call.state = DeviceFlags::BEHIND_IOMMU | DeviceFlags::COHERENT;
        edit(call);
        0
    });
    iommu.query_device(device())
}

fn lie(field: &'static str, value: u64) -> Result<DeviceInfo, Error> {
    Err(Error::BadReply(BadReply::Field { subop: Subop::QUERY_DEVICE, field, value }))
}

#[test]
fn what_is_told_of_a_device_is_checked() {
    let state = DeviceFlags::BEHIND_IOMMU | DeviceFlags::COHERENT;
    let place = DevicePlace { context: ContextId(3), group: u64::MAX, moves_with: 7 };
    let good = DeviceInfo { state, place: Some(place) };
    assert_eq!(told(|_| {}), Ok(good));
    let echoed = told(|call| (call.size, call.device.kind) = (0, DeviceKind(9)));
    assert_eq!(echoed, Ok(good), "only results are taken");

    let last = told(|call| call.ctx_id = 0xffff).unwrap().place.unwrap();
    assert_eq!(last, DevicePlace { context: ContextId(0xffff), ..place });
    assert_eq!(told(|call| call.ctx_id = 0x1_0000), lie("ctx_id", 0x1_0000));
    let state = told(|call| call.state |= DeviceFlags::from_bits_retain(1 << 6));
    assert_eq!(state, lie("state", 0x51));
}

#[test]
fn only_a_device_without_any_risk_is_isolated() {
    use DeviceFlags as Is;
    let alone = Is::BEHIND_IOMMU | Is::INTERRUPTS_ISOLATED;
    let isolated = |state| told(|call| call.state = state).unwrap().is_isolated();
    assert!(isolated(alone) && isolated(alone | Is::COHERENT));
    for risk in [
        alone | Is::SHARING_RISK,
        alone | Is::HIDDEN_MEMBERS,
        alone - Is::INTERRUPTS_ISOLATED,
        alone - Is::BEHIND_IOMMU,
    ] {
        assert!(!isolated(risk), "{risk:?}");
    }
}

#[test]
fn devices_of_a_group_are_known_by_its_number() {
    let one = told(|_| {}).unwrap();
    assert!(one.is_in_group_of(&one) && one.moves_with(&one));
    let beside = told(|call| call.moves_with = 8).unwrap();
    assert!(one.is_in_group_of(&beside) && !one.moves_with(&beside));
    let other = told(|call| (call.group, call.moves_with) = (1, 1)).unwrap();
    assert!(!one.is_in_group_of(&other) && !one.moves_with(&other));
    let emulated = told(|call| call.state = DeviceFlags::empty()).unwrap();
    assert!(!emulated.is_in_group_of(&emulated) && !one.is_in_group_of(&emulated));
}

#[test]
fn a_device_the_service_does_not_translate_has_no_place() {
    let state = DeviceFlags::COHERENT;
    // What is not told is not looked at.
    let emulated = told(|call| (call.state, call.ctx_id) = (state, u32::MAX));
    assert_eq!(emulated, Ok(DeviceInfo { state, place: None }));
}

#[test]
fn errors_say_what_to_do_about_a_device() {
    let ask = |ret: i64| client(move |_: &mut QueryDevice| ret).query_device(device());
    for errno in [Errno::EOPNOTSUPP, Errno::ENODEV] {
        assert_eq!(ask(errno.to_ret()), Err(Error::NotAvailable(errno)));
    }
    assert_eq!(ask(Errno::EPERM.to_ret()), Err(Error::Refused(Errno::EPERM)));
    let status = BadReply::Status { subop: Subop::QUERY_DEVICE, ret: 1 };
    assert_eq!(ask(1), Err(Error::BadReply(status)));
}

#[test]
fn the_switch_is_asked_for_as_it_is_told() {
    for (mode, background) in [
        (OwnershipMode::CLEAR, Background::FAULT),
        (OwnershipMode::KEEP, Background::DEFAULT),
        (OwnershipMode::GIVE_BACK, Background::DEFAULT),
        // The hypervisor knows better what there is.
        (OwnershipMode(9), Background(7)),
    ] {
        let iommu = client(|call: &mut TakeOwnership| {
            assert_eq!(*call, TakeOwnership { mode, background, ..TakeOwnership::default() });
            0
        });
        assert_eq!(iommu.take_ownership(mode, background), Ok(()));
    }
}

#[test]
fn errors_say_what_to_do_about_the_switch() {
    let ask = |ret: i64| {
        let iommu = client(move |_: &mut TakeOwnership| ret);
        iommu.take_ownership(OwnershipMode::CLEAR, Background::SCRATCH)
    };
    let absent = Errno::EOPNOTSUPP;
    assert_eq!(ask(absent.to_ret()), Err(Error::NotAvailable(absent)), "without the capability");
    for errno in [Errno::EACCES, Errno::EBUSY, Errno::EINVAL] {
        assert_eq!(ask(errno.to_ret()), Err(Error::Refused(errno)));
    }
    for errno in [Errno::ENOMEM, Errno::ENOSPC] {
        assert_eq!(ask(errno.to_ret()), Err(Error::Exhausted(errno)));
    }
    assert_eq!(ask(Errno::EIO.to_ret()), Err(Error::Failed(Errno::EIO)));
    for ret in [1, -4, -4096, i64::MIN] {
        let status = BadReply::Status { subop: Subop::TAKE_OWNERSHIP, ret };
        assert_eq!(ask(ret), Err(Error::BadReply(status)));
    }
}

#[test]
fn another_domain_is_named_in_the_call() {
    let iommu = client(|call: &mut QueryDevice| {
        assert_eq!(call.domid, DomId(8));
        Errno::ESRCH.to_ret()
    });
    let asked = iommu.for_domain(DomId(8)).query_device(device());
    assert_eq!(asked, Err(Error::Refused(Errno::ESRCH)));
    let iommu = client(|call: &mut TakeOwnership| {
        assert_eq!(call.domid, DomId(8));
        0
    });
    let other = iommu.for_domain(DomId(8));
    assert_eq!(other.take_ownership(OwnershipMode::KEEP, Background::DEFAULT), Ok(()));
}
