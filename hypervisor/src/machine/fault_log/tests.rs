//! Records, windows and storms.

use super::*;

const RULE: FaultRule = FaultRule { window_ms: 100, recorded: 3, storm: 5 };

fn drain(log: &FaultLog, tenure: u32) -> (Vec<(u64, u32)>, u64) {
    let mut records = Vec::new();
    let lost = log.read(tenure, |record| {
        records.push((record.address, record.count));
        true
    });
    (records, lost)
}

fn record(log: &FaultLog, address: u64) -> bool {
    log.record(address, Access::READ, FaultReason::NOT_MAPPED)
}

#[test]
fn faults_that_are_alike_are_one_record_and_the_others_keep_their_order() {
    let log = FaultLog::new();
    for address in [0x1000, 0x1ff8, 0x2000, 0x1000] {
        assert!(record(&log, address));
    }
    assert!(log.has_news());
    assert_eq!(drain(&log, 0), (vec![(0x1000, 2), (0x2000, 1), (0x1000, 1)], 0));
    assert!(!log.has_news());
}

#[test]
fn the_oldest_records_stay_when_there_is_no_room() {
    let log = FaultLog::new();
    let kept = (0..20u64).filter(|page| record(&log, page << 12)).count();
    assert_eq!(kept, RECORDS_KEPT);
    let (records, _) = drain(&log, 0);
    assert_eq!(records.last(), Some(&((RECORDS_KEPT as u64 - 1) << 12, 1)));
}

/// INV-52: what a device did for another is not told.
#[test]
fn records_of_another_time_are_dropped() {
    let log = FaultLog::new();
    assert!(record(&log, 0x1000));
    log.lose();
    log.moved(1, Home::Blocked);
    log.changed_hands();
    assert!((0..RECORDS_KEPT as u64).all(|page| record(&log, (page + 8) << 12)), "in the way");
    let (records, lost) = drain(&log, 1);
    assert_eq!((records.len(), records.first(), lost), (RECORDS_KEPT, Some(&(0x8000, 1)), 0));
}

/// INV-48: a storm is told once, and ends with the window only for a device that is started again.
#[test]
fn too_many_faults_in_a_window_are_not_recorded_and_far_too_many_are_a_storm() {
    let log = FaultLog::new();
    let mut rates = (0..8).map(|_| log.count(RULE, 1000));
    assert!(rates.by_ref().take(3).all(|rate| rate == Rate::Usual));
    assert!(rates.by_ref().take(2).all(|rate| rate == Rate::TooMany));
    assert_eq!(rates.next(), Some(Rate::Storm));
    assert!(rates.all(|rate| rate == Rate::TooMany));
    assert_eq!(log.count(RULE, 1100), Rate::TooMany, "it is stopped");
    log.restart();
    assert_eq!(log.count(RULE, 1100), Rate::Usual);
    assert_eq!(log.seen(), 10);
}

#[test]
fn a_window_ends_also_where_the_clock_is_cut_off() {
    let log = FaultLog::new();
    let late = u64::from(u32::MAX) - 10;
    assert!((0..3).all(|_| log.count(RULE, late) == Rate::Usual));
    assert_eq!(log.count(RULE, late + 99), Rate::TooMany);
    assert_eq!(log.count(RULE, late + 100), Rate::Usual);
    assert_eq!(log.count(FaultRule { storm: u32::MAX, ..RULE }, late + 101), Rate::Usual);
}

/// A fault that is reported while they are read, by an interrupt on the same CPU, is lost and counted.
#[test]
fn who_reports_never_waits_for_who_reads() {
    let log = FaultLog::new();
    assert!(record(&log, 0x1000));
    let lost = log.read(0, |_| {
        assert!(!record(&log, 0x2000));
        log.lose();
        true
    });
    assert_eq!(lost, 1);
}
