//! What a malformed trace is answered with: the file, the line, what stood there, what was
//! expected.

use proptest::prelude::*;
use pviommu_testbed::trace::Trace;

use crate::text::{FIRST, parse};

/// The message for a trace with this second line.
fn message(line: &str) -> String {
    parse(&format!("{FIRST}{line}\n")).unwrap_err().to_string()
}

#[test]
fn each_malformed_event_is_named() {
    let cases = [
        ("x 0 X 1", "test:2: found time \"x\", expected a decimal number in range"),
        ("-1 0 X 1", "time \"-1\""),
        ("+1 0 X 1", "time \"+1\""),
        ("18446744073709551616 0 X 1", "time \"18446744073709551616\""),
        ("1 4294967296 X 1", "cpu \"4294967296\""),
        ("1", "the end of the line, expected the field cpu"),
        ("1 0", "expected the field operation"),
        ("1 0 Q 1", "operation \"Q\", expected M U P S A D X G R #"),
        ("1 0 MM 1", "operation \"MM\""),
        ("1 0 M 1 1000 1000 4096", "expected the field prot"),
        ("1 0 M 1 1000 1000 4096 rw extra", "\"extra\" after the last field"),
        ("1 0 M 1 1001 1000 4096 rw", "iova \"1001\", expected an address at a 4096-byte boundary"),
        ("1 0 M 1 1000 800 4096 rw", "paddr \"800\""),
        ("1 0 M 1 0x1000 1000 4096 rw", "without 0x"),
        ("1 0 M 1 10000000000000000 1000 4096 rw", "iova \"10000000000000000\""),
        ("1 0 M 1 1000 1000 0 rw", "size \"0\", expected a multiple of 4096 bytes above zero"),
        ("1 0 M 1 1000 1000 4095 rw", "size \"4095\""),
        ("1 0 M 1 1000 1000 0x1000 rw", "size \"0x1000\""),
        ("1 0 M 1 fffffffffffff000 1000 8192 rw", "ends at ffffffffffffffff or below"),
        ("1 0 M 1 1000 ffffffffff000 8192 rw", "ends at fffffffffffff or below"),
        ("1 0 M 1 1000 1000 4096 rx", "prot \"rx\", expected letters out of r w c n m p"),
        ("1 0 M -1 1000 1000 4096 rw", "domain \"-1\""),
        ("1 0 U 1 1000 4096", "expected the field unmapped"),
        ("1 0 U 1 1000 4096 100", "unmapped \"100\""),
        ("1 0 U 1 fffffffffffff000 4096 8192", "ends at ffffffffffffffff or below"),
        ("1 0 P 1 zz 4096", "iova \"zz\""),
        ("1 0 S 1 -", "expected the field last"),
        ("1 0 S 1 - 0", "range \"- 0\""),
        ("1 0 A", "expected the field domain"),
        ("1 0 D 1 NESTED 00:01.0", "type \"NESTED\", expected DMA, DMA-FQ, UNMANAGED"),
        ("1 0 D 1 DMA 00:20.0", "dev \"00:20.0\", expected a PCI function like 00:1f.2"),
        ("1 0 D 1 DMA 00:01.8", "dev \"00:01.8\""),
        ("1 0 D 1 DMA 100:01.0", "dev \"100:01.0\""),
        ("1 0 D 1 DMA 0:10000:00:01.0", "dev"),
        ("1 0 X one", "domain \"one\""),
        ("1 0 G x 00:01.0", "group \"x\""),
        ("1 0 R 1 eth0", "dev \"eth0\""),
        ("1 0 m 00:01.0 X 1000 1000 8", "dir \"X\", expected T, F or B"),
        ("1 0 m 00:01.0 T 1000 1000", "expected the field size"),
        ("1 0 m 00:01.0 T 1000 fffffffffffff 2", "ends at fffffffffffff or below"),
        ("1 0 u 00:01.0 T 1000 -8", "size \"-8\""),
        ("1 0 a eth0 B 1000 8", "dev \"eth0\""),
        ("1 0 f 00:01.0 B", "expected the field dma"),
        ("1 0 g 00:01.0 T 1 1 1000 1000", "dma:size \"1000\""),
        ("1 0 g 00:01.0 T 1 1 fffffffffffff000:2000 1000", "dma:size \"fffffffffffff000:2000\""),
        ("1 0 g 00:01.0 T 1 2 1000:8,2000:8,3000:8 1000", "3 items in the list dma:size"),
        ("1 0 g 00:01.0 T 1 1 1000:8 1000,2000", "expected at most the 1 that were counted"),
        ("1 0 g 00:01.0 T 1 1 1000:8 10000000000000", "phys \"10000000000000\""),
        ("1 0 g 00:01.0 T 1 1 1000:1000 10,", "phys \"\""),
        ("1 0 h 00:01.0 T 1", "expected the field phys0"),
    ];
    for (line, expected) in cases {
        let message = message(line);
        assert!(message.starts_with("test:2: found "), "{line}: {message}");
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn each_malformed_header_line_is_named() {
    let cases = [
        ("# ram: 1000-0 : System RAM", "ram \"1000-0\""),
        ("# ram: 1000 : System RAM", "ram \"1000\""),
        ("# pci: eth0 0x1:0x2", "pci \"eth0\""),
        ("# pci: 0000:00:01.0 0x1:0x2 class 0x0 driver x group q type DMA", "group \"q\""),
        ("# group: 1 DMA", "number and type | functions | reserved regions"),
        ("# group: x DMA | | ", "group \"x\""),
        ("# group: 1 DMA | eth0 | ", "group \"eth0\""),
        ("# group: 1 DMA | | 0x1 msi;", "reserved region \"0x1 msi\""),
        ("# group: 1 DMA | | 0x2 0x1 msi;", "reserved region \"0x2 0x1 msi\""),
        ("# group: 1 DMA | | 0x1 0x2 msi x;", "\"x\" after the last field"),
    ];
    for (line, expected) in cases {
        let message = message(line);
        assert!(message.starts_with("test:2: found "), "{line}: {message}");
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn what_is_no_trace_is_told_so() {
    let first = |text: &str| parse(text).unwrap_err().to_string();
    assert!(first("").contains("test:1: found an empty file, expected a trace that begins with"));
    assert!(first("hello\n").contains("test:1: found \"hello\", expected a trace"));
    assert!(first("1 0 X 1\n").contains("test:1: found \"1 0 X 1\""));
    let next = first("# IOMMU trace of a real Linux kernel, format 2 (README.md)\n1 0 X 1\n");
    assert!(next.contains("test:1: found format \"2\", expected format 1"), "{next}");
    assert!(first("# IOMMU trace of a real Linux kernel, format 10\n").contains("format \"10\""));
    let empty = first(FIRST);
    assert!(empty.contains("found the end, expected at least one event"), "{empty}");
}

#[test]
fn time_never_runs_backwards() {
    let error = parse(&format!("{FIRST}5 0 X 1\n4 0 X 2\n")).unwrap_err().to_string();
    assert_eq!(error, "test:3: found time \"4\", expected 5 or later: time never runs backwards");
}

#[test]
fn a_line_without_end_is_not_read_into_memory() {
    let endless = std::io::Read::chain(FIRST.as_bytes(), std::io::repeat(b'a'));
    let error = Trace::read("endless", endless).unwrap_err().to_string();
    assert!(error.contains("endless:2: found a longer line, expected at most"), "{error}");
}

#[test]
fn a_message_is_safe_to_print() {
    let shown = message(&format!("\u{1b}[31m{} 0 X 1", "9".repeat(300)));
    assert!(!shown.contains('\u{1b}') && shown.len() < 200, "{shown}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Trace::open("/nonexistent/x.trace".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/x.trace: cannot be read"), "{error}");
}

proptest! {
    /// Whatever stands in a file, reading it ends and does not panic.
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Trace::read("any", bytes.as_slice());
        let text = [FIRST.as_bytes(), &bytes].concat();
        let _ = Trace::read("any", text.as_slice());
    }

    /// The same for lines that nearly fit.
    #[test]
    fn no_line_makes_the_reader_panic(line in "[0-9]{1,3} [0-3] ([MUPSADXGRmughaf]|[afm][ps]|[mu]r|e) ([0-9a-f.:rw-]{0,17} ){0,6}") {
        let _ = parse(&format!("{FIRST}{line}\n"));
    }
}
