//! Corners of what a kernel may do, each a trace that must replay cleanly in every way there is.

/// A corner and its events.
pub(crate) type Corner = (&'static str, String);

/// All of them.
pub(crate) fn corners() -> Vec<Corner> {
    let written = [
        ("a scatter list is unmapped at once", SCATTER_LIST),
        ("maps are not followed by the end of a batch", WITHOUT_P),
        ("a strict domain is flushed as a whole", FLUSH_IN_STRICT),
        ("a lazy domain uses bus frames again", LAZY_REUSE),
        ("a domain is freed while unmaps wait", FREED_WHILE_WAITING),
        ("devices come and go", HOTPLUG),
        ("domains use the same bus addresses", SAME_IOVA),
        ("unmaps cut maps into pieces", PIECES),
        ("a sync is of everything", SYNC_OF_ALL),
        ("domains that do not translate", NO_TRANSLATION),
        ("functions of both units share a domain", SHARED),
        ("a lazy domain is synced", SYNC_IN_LAZY),
        ("user space maps large stretches", USER_SPACE),
        ("a lazy kernel has a strict domain, too", LAZY_AND_STRICT),
    ];
    let mut corners: Vec<Corner> =
        written.into_iter().map(|(name, events)| (name, events.to_owned())).collect();
    corners.push(("more maps than a batch can hold", many_maps(300)));
    corners.push(("more tables are emptied than are kept", far_apart(40)));
    corners.push(("more pages wait than the service allows", waiting_pages(5200)));
    corners.push(("a frame is mapped many times", many_times(24)));
    corners
}

const SCATTER_LIST: &str = "
    D 1 DMA 00:01.0
    M 1 fff80000 9000 4096 w
    M 1 fff81000 3000 8192 w
    M 1 fff83000 20000 53248 w
    P 1 fff80000 65536
    U 1 fff80000 65536 65536
    S 1 fff80000 fff8ffff
    M 1 fff80000 3000 4096 r
    M 1 fff81000 9000 8192 r
    P 1 fff80000 12288";

const WITHOUT_P: &str = "
    D 1 DMA 00:01.0
    M 1 fffff000 5000 4096 rw
    P 1 fffff000 4096
    M 1 ffffe000 6000 4096 rw
    U 1 fffff000 4096 4096
    M 1 fffff000 7000 4096 r
    M 1 ffffd000 8000 4096 w";

const FLUSH_IN_STRICT: &str = "
    D 1 DMA 00:01.0
    A 1
    M 1 fffff000 5000 4096 rw
    P 1 fffff000 4096
    A 1
    U 1 fffff000 4096 4096
    S 1 fffff000 ffffffff
    A 1
    M 1 fffff000 6000 4096 rw
    A 1";

const LAZY_REUSE: &str = "
    D 1 DMA-FQ 00:01.0
    A 1
    M 1 fffff000 5000 4096 rw
    M 1 ffffe000 9000 4096 r
    P 1 ffffe000 8192
    U 1 fffff000 4096 4096
    A 1
    M 1 fffff000 6000 4096 r
    P 1 fffff000 4096
    U 1 fffff000 4096 4096
    M 1 fffff000 7000 4096 w
    P 1 fffff000 4096
    U 1 ffffe000 8192 8192
    A 1
    M 1 ffffe000 5000 8192 rw
    A 1
    U 1 ffffe000 8192 8192";

const FREED_WHILE_WAITING: &str = "
    D 1 DMA-FQ 00:01.0
    M 1 fffff000 5000 4096 rw
    M 1 ffffe000 6000 4096 rw
    P 1 ffffe000 8192
    U 1 fffff000 4096 4096
    X 1
    D 2 DMA-FQ 00:01.0
    M 2 fffff000 6000 4096 rw
    U 2 fffff000 4096 4096
    R 1 00:01.0
    G 1 00:01.0
    D 3 DMA 00:01.0
    M 3 fffff000 5000 4096 r
    X 2";

const HOTPLUG: &str = "
    G 1 00:01.0
    D 1 DMA 00:01.0
    M 1 fffff000 5000 4096 rw
    D 1 DMA 00:02.0
    M 1 ffffe000 6000 4096 rw
    R 1 00:01.0
    M 1 ffffd000 7000 4096 rw
    U 1 fffff000 4096 4096
    X 1
    G 1 00:01.0
    D 2 DMA 00:01.0
    M 2 fffff000 7000 4096 r
    D 3 DMA-FQ 00:01.0
    M 3 fffff000 8000 4096 w
    U 3 fffff000 4096 4096
    D 2 DMA 00:01.0
    R 7 00:1e.0
    X 3
    X 99";

const SAME_IOVA: &str = "
    D 1 DMA 00:01.0
    D 2 DMA-FQ 00:02.0
    M 1 fffff000 5000 4096 r
    M 2 fffff000 6000 4096 w
    M 1 ffffe000 6000 4096 rw
    M 2 ffffe000 6000 4096 r
    U 1 fffff000 4096 4096
    M 1 fffff000 6000 4096 w
    U 2 ffffe000 8192 8192
    A 2
    U 1 ffffe000 8192 8192";

const PIECES: &str = "
    D 1 UNMANAGED 00:01.0
    M 1 200000 400000 2097152 rw
    M 1 400000 600000 2097152 rw
    M 1 600000 999000 4096 r
    U 1 201000 4096 4096
    U 1 3ff000 8192 8192
    M 1 3ff000 999000 8192 w
    U 1 5ff000 8192 8192
    U 1 200000 4096 4096
    M 1 201000 5000 4096 r
    U 1 300000 1048576 1048576
    U 1 400000 2093056 2093056";

const SYNC_OF_ALL: &str = "
    D 1 DMA 00:01.0
    M 1 fffff000 5000 4096 rw
    P 1 fffff000 4096
    U 1 fffff000 4096 4096
    S 1 - -
    M 1 fffff000 6000 4096 rw
    P 1 fffff000 4096";

const NO_TRANSLATION: &str = "
    D 1 DMA 00:01.0
    M 1 fffff000 5000 4096 rw
    D 3 IDENTITY 00:01.0
    D 4 BLOCKED 00:02.0
    D 1 DMA 00:02.0
    U 1 fffff000 4096 4096
    D 5 DMA-FQ 00:01.0
    M 5 fffff000 5000 4096 rw
    U 5 fffff000 4096 4096
    D 3 IDENTITY 00:01.0
    X 3
    X 4";

const SHARED: &str = "
    D 1 DMA 00:01.0
    D 1 DMA 00:02.0
    D 1 DMA 00:02.1
    M 1 fffff000 5000 4096 rw
    M 1 ffffe000 6000 4096 r
    P 1 ffffe000 8192
    U 1 fffff000 4096 4096
    S 1 fffff000 ffffffff
    M 1 fffff000 7000 4096 w
    U 1 ffffe000 8192 8192
    A 1
    R 1 00:01.0
    M 1 ffffe000 5000 8192 rw
    D 1 DMA 00:01.0";

const SYNC_IN_LAZY: &str = "
    D 1 DMA-FQ 00:01.0
    M 1 fffff000 5000 4096 rw
    M 1 ffffe000 6000 4096 rw
    P 1 ffffe000 8192
    U 1 ffffe000 4096 4096
    S 1 ffffe000 ffffefff
    U 1 fffff000 4096 4096
    M 1 ffffe000 7000 8192 rw";

const USER_SPACE: &str = "
    D 1 UNMANAGED 00:01.0
    M 1 0 0 655360 rw
    M 1 100000 100000 7340032 rw
    M 1 100000000 c0000000 16777216 rw
    U 1 100000 7340032 7340032
    M 1 400000 800001000 4194304 r
    U 1 100000000 8388608 8388608
    U 1 100800000 8388608 8388608
    X 1";

const LAZY_AND_STRICT: &str = "
    D 1 DMA-FQ 00:01.0
    D 2 UNMANAGED 00:02.0
    M 1 fffff000 5000 4096 rw
    M 2 fffff000 5000 4096 rw
    U 1 fffff000 4096 4096
    U 2 fffff000 4096 4096
    S 2 fffff000 ffffffff
    M 2 fffff000 6000 4096 rw
    A 1
    A 2";

/// Maps of one page each before one `P`, unmapped by one `U`.
fn many_maps(maps: u64) -> String {
    let mut events = String::from("D 1 DMA 00:01.0\n");
    for i in 0..maps {
        let (iova, paddr) = (0xffe0_0000 + i * 4096, 0x10_0000 + (i * 7 % maps) * 8192);
        events.push_str(&format!("M 1 {iova:x} {paddr:x} 4096 rw\n"));
    }
    let bytes = maps * 4096;
    events + &format!("P 1 ffe00000 {bytes}\nU 1 ffe00000 {bytes} {bytes}\nS 1 - -\n")
}

/// Pages that need a leaf table each, mapped and unmapped and mapped.
fn far_apart(pages: u64) -> String {
    let mut events = String::from("D 1 DMA 00:01.0\nD 1 DMA 00:02.0\n");
    for round in 0..3 {
        for i in 0..pages {
            let (iova, paddr) = (0x1000_0000 + (i << 21), 0x5000 + (i << 12));
            events.push_str(&match round {
                1 => format!("U 1 {iova:x} 4096 4096\n"),
                _ => format!("M 1 {iova:x} {paddr:x} 4096 rw\n"),
            });
        }
    }
    events
}

/// Unmaps of a lazy domain without a flush.
fn waiting_pages(pages: u64) -> String {
    let mut events = String::from("D 1 DMA-FQ 00:01.0\n");
    for part in 0..pages / 40 {
        let (iova, paddr) = (0x8000_0000 + part * 40 * 4096, 0x100_0000 + part * 41 * 4096);
        events.push_str(&format!("M 1 {iova:x} {paddr:x} 163840 rw\n"));
        events.push_str(&format!("P 1 {iova:x} 163840\nU 1 {iova:x} 163840 163840\n"));
    }
    events + "A 1\nM 1 80000000 5000 4096 r\n"
}

/// One frame at many bus frames, with different permissions.
fn many_times(times: u64) -> String {
    let mut events = String::from("D 1 DMA 00:01.0\n");
    for (i, prot) in (0..times).zip(["r", "w", "rw", "rwcnmp"].into_iter().cycle()) {
        events.push_str(&format!("M 1 {:x} 5000 4096 {prot}\n", 0xffff_f000_u64 - i * 4096));
    }
    for i in (0..times).rev() {
        events.push_str(&format!("U 1 {:x} 4096 4096\n", 0xffff_f000_u64 - i * 4096));
    }
    events
}
