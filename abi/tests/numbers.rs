//! Constants against the numbers in the specifications, written out.

use pviommu_abi::companion::{GNTMAP_DEVICE_MAP, XENMEM_RDM_ALL};
use pviommu_abi::{
    AllocFlags, Argument, Background, BatchFlags, BatchOp, Bfn, CapabilityFlags, ContextId,
    DeviceHandle, DeviceKind, DomId, ElementFlags, Errno, FreeFlags, Gfn, GuestPtr,
    HYPERCALL_GRANT_TABLE_OP, HYPERCALL_IOMMU_OP, HYPERCALL_MEMORY_OP, MapFlags, MapPages, Origin,
    OwnershipMode, PAGE_SIZE, PAGE_SIZE_U32, PciDevice, RemoteCmd, ReservedKind, Subop,
    XENMEM_RESERVED_DEVICE_MEMORY_MAP, argument, layout,
};

#[test]
fn hypercall_numbers() {
    assert_eq!(HYPERCALL_IOMMU_OP, 43);
    assert_eq!(HYPERCALL_MEMORY_OP, 12);
    assert_eq!(HYPERCALL_GRANT_TABLE_OP, 20);
    assert_eq!(XENMEM_RESERVED_DEVICE_MEMORY_MAP, 27);
    assert_eq!(XENMEM_RDM_ALL, 1);
    assert_eq!(GNTMAP_DEVICE_MAP, 1);
    assert_eq!(PAGE_SIZE, 0x1000);
    assert_eq!(PAGE_SIZE_U32, 0x1000);
}

#[test]
fn subops() {
    let table = [
        (0, "NOOP"),
        (1, "QUERY_CAPABILITIES"),
        (2, "INIT"),
        (3, "ALLOC_CONTEXT"),
        (4, "FREE_CONTEXT"),
        (5, "REATTACH_DEVICE"),
        (6, "MAP_PAGES"),
        (7, "UNMAP_PAGES"),
        (8, "REMOTE_CMD"),
        (9, "ALLOC_NESTED"),
        (10, "FLUSH_NESTED"),
        (11, "ATTACH_PASID"),
        (12, "DETACH_PASID"),
        (13, "FLUSH_PAGES"),
        (0x40, "BATCH"),
        (0x41, "QUERY_RESERVED"),
        (0x42, "TAKE_OWNERSHIP"),
        (0x43, "LOOKUP"),
        (0x44, "QUERY_DEVICE"),
        (0x45, "READ_FAULTS"),
        (0x46, "QUERY_LIMITS"),
        (0x47, "ALLOC_CONTEXT_EXT"),
    ];
    for number in 0..0x100 {
        let name = table.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
        assert_eq!(Subop(number).name(), name, "subop {number:#x}");
        assert_eq!(Subop(number).is_extension(), number >= 0x40);
    }
    assert_eq!(Subop(0x99).to_string(), "Subop(0x99)");
}

#[test]
fn every_extension_has_its_capability_bit() {
    for number in 0..0x100_u32 {
        let bit = CapabilityFlags::for_extension(Subop(number)).map(|flag| flag.bits());
        let expected = (0x40..=0x47).contains(&number).then(|| 1 << (16 + number - 0x40));
        assert_eq!(bit, expected, "subop {number:#x}");
    }
}

#[test]
fn v7_flags() {
    assert_eq!(CapabilityFlags::DEFAULT_IDENTITY.bits(), 1);
    assert_eq!(CapabilityFlags::CACHE.bits(), 2);
    assert_eq!(CapabilityFlags::NESTED.bits(), 4);
    assert_eq!(CapabilityFlags::PASID.bits(), 8);
    assert_eq!(CapabilityFlags::IDENTITY.bits(), 16);
    assert_eq!(CapabilityFlags::DEFERRED_FLUSH.bits(), 32);
    assert_eq!(AllocFlags::IDENTITY.bits(), 1);
    assert_eq!(FreeFlags::REATTACH_DEFAULT.bits(), 1);
    assert_eq!(MapFlags::READABLE.bits(), 1);
    assert_eq!(MapFlags::WRITEABLE.bits(), 2);
    assert_eq!(MapFlags::CACHE.bits(), 4);
    assert_eq!(MapFlags::NO_FLUSH.bits(), 8);
}

#[test]
fn extension_numbers() {
    let ops = [BatchOp::MAP, BatchOp::UNMAP, BatchOp::MAP_LIST, BatchOp::MAP_GRANT, BatchOp::FLUSH];
    assert_eq!(ops.map(|op| op.0), [1, 2, 3, 4, 5]);
    assert_eq!(BatchOp::LOOKUP.0, 6);
    assert_eq!(BatchFlags::RUN_ALL.bits(), 1);
    let flags = [
        ElementFlags::READ,
        ElementFlags::WRITE,
        ElementFlags::CACHE,
        ElementFlags::NO_FLUSH,
        ElementFlags::NOEXEC,
        ElementFlags::MMIO,
        ElementFlags::PRIVILEGED,
        ElementFlags::SKIP_HOLES,
    ];
    assert_eq!(flags.map(|flag| flag.bits()), [1, 2, 4, 8, 16, 32, 64, 128]);
    assert_eq!(
        [OwnershipMode::CLEAR.0, OwnershipMode::KEEP.0, OwnershipMode::GIVE_BACK.0],
        [1, 2, 3]
    );
    assert_eq!([Background::DEFAULT.0, Background::FAULT.0, Background::SCRATCH.0], [0, 1, 2]);
    let origins = [Origin::INITIAL, Origin::MAINTAINED, Origin::GUEST, Origin::RESERVED];
    assert_eq!(origins.map(|origin| origin.0), [1, 2, 3, 4]);
    assert_eq!([ReservedKind::DIRECT.0, ReservedKind::BRIDGE_WINDOW.0], [1, 6]);
    assert_eq!([DeviceKind::NONE.0, DeviceKind::PCI.0], [0, 1]);
}

#[test]
fn unknown_flag_bits_survive_and_are_told() {
    let flags = MapFlags::from_bits_retain(0x8000_0001);
    assert_eq!(flags.bits(), 0x8000_0001);
    assert_eq!(flags.unknown_bits(), 0x8000_0000);
    assert_eq!(MapFlags::from_bits(0x8000_0001), None);
    assert_eq!(flags.to_string(), "READABLE | 0x80000000");
    assert_eq!(MapFlags::default().to_string(), "-");
}

#[test]
fn domain_ids() {
    let named =
        [DomId::SELF, DomId::IO, DomId::XEN, DomId::COW, DomId::INVALID, DomId::ANY, DomId::IDLE];
    let numbers = [0x7ff0, 0x7ff1, 0x7ff2, 0x7ff3, 0x7ff4, 0x7ff5, 0x7fff];
    assert_eq!(named.map(|id| id.0), numbers);
    assert!(named.iter().all(|id| id.is_reserved()));
    assert!(!DomId(0).is_reserved() && !DomId(0x7fef).is_reserved() && DomId(0xffff).is_reserved());
    assert_eq!(DomId::FIRST_RESERVED, DomId(0x7ff0));
    assert_eq!(DomId::default(), DomId::SELF);
    assert_eq!(ContextId::try_from(0x1_0000_u32).ok(), None);
    assert_eq!(ContextId::try_from(7_u32).ok(), Some(ContextId(7)));
}

/// INV-55: the codes that steer continuations cannot be built, so they cannot reach a guest.
#[test]
fn errno_values_and_round_trip() {
    let table = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (5, "EIO"),
        (6, "ENXIO"),
        (7, "E2BIG"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (18, "EXDEV"),
        (19, "ENODEV"),
        (22, "EINVAL"),
        (28, "ENOSPC"),
        (30, "EROFS"),
        (33, "EDOM"),
        (34, "ERANGE"),
        (35, "EDEADLK"),
        (38, "ENOSYS"),
        (61, "ENODATA"),
        (62, "ETIME"),
        (74, "EBADMSG"),
        (75, "EOVERFLOW"),
        (84, "EILSEQ"),
        (90, "EMSGSIZE"),
        (95, "EOPNOTSUPP"),
        (98, "EADDRINUSE"),
        (99, "EADDRNOTAVAIL"),
        (105, "ENOBUFS"),
        (106, "EISCONN"),
        (107, "ENOTCONN"),
        (110, "ETIMEDOUT"),
    ];
    for ret in -200..200_i64 {
        let name = table.iter().find(|(value, _)| i64::from(-*value) == ret).map(|(_, name)| *name);
        let errno = Errno::from_ret(ret);
        assert_eq!(errno.map(Errno::name), name, "return value {ret}");
        assert_eq!(errno.map_or(ret, Errno::to_ret), ret);
    }
    assert_eq!(Errno::ALL.len(), table.len());
    for ret in [-4, -85, i64::MIN, i64::MAX, -22 - (1 << 32)] {
        assert_eq!(Errno::from_ret(ret), None);
    }
    assert_eq!(Errno::EADDRINUSE.to_string(), "EADDRINUSE");
    assert_eq!(Errno::EADDRINUSE.to_status(), -98);
    assert_eq!(Errno::EADDRINUSE.get(), 98);
}

#[test]
fn every_errno_says_what_it_means_in_a_sentence_of_its_own() {
    assert_eq!(Errno::EADDRINUSE.meaning(), "The BFN is mapped already.");
    assert_eq!(Errno::EROFS.meaning(), "The page can only be read.");
    let mut said: Vec<&str> = Errno::ALL.iter().map(|errno| errno.meaning()).collect();
    assert!(said.iter().all(|sentence| sentence.len() > 1 && sentence.ends_with('.')));
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), Errno::ALL.len());
}

#[test]
fn frames_do_not_wrap() {
    assert_eq!(Bfn(u64::MAX).checked_add(1), None);
    assert_eq!(Bfn(5).checked_add(3), Some(Bfn(8)));
    assert_eq!(Gfn(2).checked_sub(3), None);
    assert_eq!(Gfn(8).offset_from(Gfn(5)), Some(3));
    assert_eq!(Gfn(5).offset_from(Gfn(8)), None);
    assert_eq!(Bfn(1 << 52).address(), None);
    assert_eq!(Bfn((1 << 52) - 1).address(), Some(0xffff_ffff_ffff_f000));
    assert_eq!(Bfn::containing(u64::MAX), Bfn((1 << 52) - 1));
    assert_eq!(format!("{} {:?}", Bfn(0xfee00), Gfn(0x10)), "0xfee00 Gfn(0x10)");
}

#[test]
fn guest_pointers_do_not_wrap_and_are_printed_as_addresses() {
    assert!(GuestPtr::NULL.is_null() && GuestPtr::default().is_null() && !GuestPtr(1).is_null());
    assert_eq!(GuestPtr(0x1000).checked_add(0x24), Some(GuestPtr(0x1024)));
    assert_eq!(GuestPtr(u64::MAX).checked_add(0), Some(GuestPtr(u64::MAX)));
    assert_eq!(GuestPtr(u64::MAX).checked_add(1), None);
    assert_eq!(format!("{0} {0:?}", GuestPtr(0x1024)), "0x1024 GuestPtr(0x1024)");
}

#[test]
fn pci_names() {
    let device = PciDevice::new(0x1234, 0x5a, 0x1f, 3);
    assert_eq!(device.to_string(), "1234:5a:1f.3");
    assert_eq!(device.sbdf(), 0x1234_5afb);
    assert_eq!(PciDevice::from_sbdf(0x1234_5afb), device);
    assert_eq!(DeviceHandle::pci(device).as_pci(), Some(device));
    let wide = DeviceHandle { id: 1 << 32, ..DeviceHandle::pci(device) };
    assert_eq!(wide.as_pci(), None);
    assert_eq!(DeviceHandle::default().as_pci(), None);
}

#[test]
fn argument_table() {
    assert_eq!(MapPages::SUBOP, Subop::MAP_PAGES);
    assert_eq!(argument::info(Subop::MAP_PAGES), Some(MapPages::INFO));
    assert_eq!(RemoteCmd::INFO.pointer_offset, Some(8));
    let written_back: Vec<u32> = (0..0x40)
        .filter(|number| argument::info(Subop(*number)).is_some_and(|info| info.has_output))
        .collect();
    // 9 is announced with an output, and answers -EOPNOTSUPP.
    assert_eq!(written_back, [1, 3, 6, 7, 9]);
    let unknown = [Subop::NOOP, Subop::FLUSH_NESTED, Subop(14), Subop(0x3f), Subop(0x48)];
    assert!(unknown.iter().all(|subop| argument::info(*subop).is_none()));
}

#[test]
fn c_names_are_unique_and_fields_leave_no_hole() {
    let mut names: Vec<String> = layout::groups()
        .flat_map(|group| group.constants.iter().map(|c| format!("{}{}", group.c_prefix, c.name)))
        .chain(layout::structs().map(|layout| layout.c_name.to_owned()))
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);

    for layout in layout::structs() {
        let mut end = 0;
        for field in layout.fields {
            assert_eq!(field.offset, end, "{}.{}", layout.name, field.name);
            end += field.size;
        }
        assert_eq!(end, layout.size, "{}", layout.name);
    }
}
