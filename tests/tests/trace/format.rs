//! What a well-formed trace is read as.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use pviommu_abi::PciDevice;
use pviommu_testbed::trace::{
    Attach, ByteRange, DomainType, Map, Op, Prot, RegionKind, Trace, Unmap,
};

use crate::text::{FIRST, HEADER, parse};

/// The operation of a line that is kept.
fn op(line: &str) -> Op {
    let trace = parse(&format!("{FIRST}5 0 {line}\n")).unwrap();
    assert_eq!(trace.counts.lines, 1);
    trace.events.first().expect("an event that is kept").op
}

fn device(device: u8, function: u8) -> PciDevice {
    PciDevice::new(0, 0, device, function)
}

#[test]
fn maps_and_unmaps() {
    let map = Map {
        domain: 2,
        iova: 0xffff_f000,
        paddr: 0x1000,
        size: 4096,
        prot: Prot::READ | Prot::CACHE,
    };
    assert_eq!(op("M 2 fffff000 1000 4096 rc"), Op::Map(map));
    let all = Map { prot: Prot::all(), ..map };
    assert_eq!(op("M 2 fffff000 1000 4096 rwcnmp"), Op::Map(all));
    let unmap = Unmap { domain: 2, iova: 0xffff_0000, size: 8192, unmapped: 4096 };
    assert_eq!(op("U 2 ffff0000 8192 4096"), Op::Unmap(unmap));
    assert_eq!(op("U 2 ffff0000 8192 0"), Op::Unmap(Unmap { unmapped: 0, ..unmap }));
}

#[test]
fn the_last_page_of_64_bits_can_be_named() {
    let Op::Unmap(unmap) = op("U 1 fffffffffffff000 4096 4096") else { panic!("not an unmap") };
    assert_eq!(unmap.iova, u64::MAX - 4095);
}

#[test]
fn batch_ends() {
    assert_eq!(op("P 7 fffff000 4096"), Op::MapBatch(7));
    assert_eq!(op("S 7 fffff000 ffffffff"), Op::Sync(7));
    assert_eq!(op("S 7 - -"), Op::Sync(7));
    assert_eq!(op("S 7 ffffffffffffffff 0"), Op::Sync(7), "an empty gather");
    assert_eq!(op("A 7"), Op::FlushAll(7));
}

#[test]
fn devices_and_domains() {
    let types = [
        ("DMA", DomainType::Dma, true),
        ("DMA-FQ", DomainType::DmaLazy, true),
        ("UNMANAGED", DomainType::Unmanaged, true),
        ("IDENTITY", DomainType::Identity, false),
        ("BLOCKED", DomainType::Blocked, false),
    ];
    for (word, kind, translates) in types {
        let attach = Attach { domain: 9, kind, device: device(0x1f, 2) };
        assert_eq!(op(&format!("D 9 {word} 00:1f.2")), Op::Attach(attach));
        assert_eq!(kind.translates(), translates, "{word}");
    }
    assert_eq!(op("X 9"), Op::Free(9));
    assert_eq!(op("G 3 00:01.0"), Op::Arrive(device(1, 0)));
    assert_eq!(op("R 3 00:01.0"), Op::Leave(device(1, 0)));
    assert_eq!(op("R 3 10fe:a0:1f.7"), Op::Leave(PciDevice::new(0x10fe, 0xa0, 0x1f, 7)));
    let large = u64::MAX;
    assert_eq!(op(&format!("X {large}")), Op::Free(large), "domain numbers have no bound");
}

#[test]
fn events_know_their_line_time_and_cpu() {
    let trace = parse(&format!("{FIRST}# name: x\n\n7 3 X 1\r\n# a remark\n9 0 X 2")).unwrap();
    let seen: Vec<_> = trace.events.iter().map(|e| (e.line, e.ns, e.cpu, e.op)).collect();
    assert_eq!(seen, [(4, 7, 3, Op::Free(1)), (6, 9, 0, Op::Free(2))]);
}

#[test]
fn the_header_tells_of_the_machine() {
    let groups = "\
# group: 4 DMA | 0000:00:1f.0 0000:00:1f.3  | 0x0 0xffffff direct-relaxable;0xfee00000 0xfeefffff msi;
# group: 5  | 0000:00:03.0 | 0x1000 0x1fff direct;0x2000 0x2fff reserved;0x3000 0x3fff new-kind
# group: 6 DMA | |
";
    let trace = parse(&format!("{HEADER}{groups}1 0 X 1\n")).unwrap();
    let header = &trace.header;
    assert_eq!((header.name.as_str(), header.what.as_str()), ("synthetic", "written for a test"));
    assert_eq!(header.ram, [ByteRange { first: 0, last: 0xffff_ffff }]);
    let [nvme, virtio] = header.functions.as_slice() else { panic!("two functions") };
    assert_eq!(
        (nvme.address, nvme.group, nvme.driver.as_deref()),
        (device(1, 0), Some(1), Some("nvme"))
    );
    assert_eq!((virtio.driver.as_deref(), virtio.group), (None, Some(2)));
    assert_eq!(virtio.ids, "0x1af4:0x1042");
    let group = |number| header.groups.iter().find(|group| group.number == number).unwrap();
    assert_eq!(group(4).members, [device(0x1f, 0), device(0x1f, 3)]);
    let kinds: Vec<RegionKind> = group(4).reserved.iter().map(|region| region.kind).collect();
    assert_eq!(kinds, [RegionKind::DirectRelaxable, RegionKind::Msi]);
    let kinds: Vec<RegionKind> = group(5).reserved.iter().map(|region| region.kind).collect();
    let unknown_is_reserved = [RegionKind::Direct, RegionKind::Reserved, RegionKind::Reserved];
    assert_eq!(kinds, unknown_is_reserved);
    assert!(group(6).members.is_empty() && group(6).reserved.is_empty());
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_is_told_by_its_content() {
    let packed = gzip(&format!("{FIRST}1 0 X 1\n"));
    assert_eq!(Trace::read("plain.txt", packed.as_slice()).unwrap().counts.frees, 1);
    let mut two = gzip(FIRST);
    two.extend(gzip("1 0 X 1\n"));
    assert_eq!(Trace::read("two", two.as_slice()).unwrap().counts.frees, 1, "two streams");
}

#[test]
fn a_broken_gzip_stream_is_an_error_wherever_it_breaks() {
    let whole = gzip(&format!("{HEADER}1 0 X 1\n2 0 X 2\n"));
    for length in 3..whole.len() {
        let (start, _) = whole.split_at(length);
        let error = Trace::read("cut.gz", start).unwrap_err().to_string();
        assert!(error.contains("cut.gz"), "{error}");
    }
    let mut flipped = whole;
    let middle = flipped.len() - 6;
    if let Some(byte) = flipped.get_mut(middle) {
        *byte ^= 0x40;
    }
    assert!(Trace::read("bad.gz", flipped.as_slice()).is_err(), "the checksum is checked");
}
