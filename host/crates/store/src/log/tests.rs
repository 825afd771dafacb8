use super::*;
use std::sync::atomic::Ordering;

type Records = Vec<(u64, Vec<u8>)>;

fn open(dir: &Path, options: &Options) -> Result<(Log, Records)> {
    let mut records = Vec::new();
    let log = Log::open(dir, options.clone(), &mut |entry| {
        records.push((entry.sequence, entry.bytes.to_vec()));
        Ok(())
    })?;
    Ok((log, records))
}

/// Groups of one, two and three records; the last one spans several sectors.
fn groups() -> Vec<Vec<Vec<u8>>> {
    vec![
        vec![b"first".to_vec()],
        vec![vec![0; 40], b"third".to_vec()],
        vec![vec![7; 900], (0..=255).collect(), b"sixth".to_vec()],
    ]
}

/// A log of [`groups`]: its one file, the file's bytes, where the last frame begins, and the records.
fn sample(dir: &Path) -> (PathBuf, Vec<u8>, usize, Records) {
    let (mut log, _) = open(dir, &Options::default()).unwrap();
    let mut last = 0;
    for group in groups() {
        last = usize::try_from(log.length).unwrap();
        log.append(&group).unwrap();
        log.sync().unwrap();
    }
    let path = log.segment().path.clone();
    let records = groups().into_iter().flatten().zip(1..).map(|(bytes, n)| (n, bytes)).collect();
    (path.clone(), fs::read(path).unwrap(), last, records)
}

#[test]
fn f44_a_tail_cut_or_zeroed_anywhere_recovers_to_the_record_before() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes, last, records) = sample(dir.path());
    for at in last..bytes.len() {
        let mut zeroed = bytes.clone();
        zeroed[at..].fill(0);
        let mut longer = zeroed.clone();
        longer.resize(bytes.len() + 5000, 0);
        for torn in [&bytes[..at], &zeroed, &longer] {
            fs::write(&path, torn).unwrap();
            let (mut log, found) = open(dir.path(), &Options::default()).unwrap_or_else(|e| panic!("at {at}: {e}"));
            assert_eq!(found, records[..3], "torn at {at}");
            assert_eq!(fs::read(&path).unwrap(), bytes[..last], "the torn tail is gone");
            log.append(&[b"again".to_vec()]).unwrap();
            drop(log);
            let (_, found) = open(dir.path(), &Options::default()).unwrap();
            assert_eq!(found[3..], [(4, b"again".to_vec())]);
        }
    }
}

#[test]
fn f44_a_sector_that_was_never_written_is_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes, last, records) = sample(dir.path());
    for sector in (last / 512 + 1)..bytes.len() / 512 {
        let mut torn = bytes.clone();
        torn[sector * 512..(sector + 1) * 512].fill(0);
        fs::write(&path, torn).unwrap();
        assert_eq!(open(dir.path(), &Options::default()).unwrap().1, records[..3]);
    }
    let mut torn = bytes.clone();
    torn[last..512].fill(0);
    fs::write(&path, torn).unwrap();
    assert_eq!(open(dir.path(), &Options::default()).unwrap().1, records[..3]);
}

#[test]
fn f45_any_flipped_bit_is_refused_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes, _, _) = sample(dir.path());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let fault = open(dir.path(), &Options::default()).map(|(_, found)| found).expect_err(&format!("bit at {at}"));
        assert_eq!(fault.code(), aimass_core::Code::Integrity);
        assert!(fault.detail().contains(&path.display().to_string()) && fault.detail().contains("offset"), "{fault}");
        assert_eq!(fs::read(&path).unwrap(), flipped, "nothing is changed");
    }
}

#[test]
fn f45_zeros_before_the_tail_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes, last, _) = sample(dir.path());
    for at in segment::HEADER..last {
        if bytes[at] != 0 {
            let mut zeroed = bytes.clone();
            zeroed[at..last].fill(0);
            fs::write(&path, zeroed).unwrap();
            assert!(open(dir.path(), &Options::default()).is_err(), "zeros from {at}");
        }
    }
}

#[test]
fn a_stored_value_cannot_pass_for_a_frame() {
    let other = tempfile::tempdir().unwrap();
    let (_, foreign, _, _) = sample(other.path());
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), &Options::default()).unwrap();
    log.append(&[foreign]).unwrap();
    let path = log.segment().path.clone();
    let bytes = fs::read(&path).unwrap();
    // The header is lost, so that the search for frames meets what was stored.
    let mut torn = bytes[..bytes.len() - 1].to_vec();
    torn[segment::HEADER..segment::HEADER + frame::HEADER].fill(0);
    torn.push(0);
    fs::write(&path, torn).unwrap();
    assert!(open(dir.path(), &Options::default()).unwrap().1.is_empty());
}

#[test]
fn f46_a_full_disk_leaves_nothing_of_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let (mut log, _) = open(dir.path(), &options).unwrap();
    log.append(&[b"before".to_vec()]).unwrap();
    let whole = fs::read(&log.segment().path).unwrap();
    for room in 0..60 {
        *options.faults.room.lock().unwrap() = Some(room);
        let error = log.append(&[vec![9; 40], vec![8; 3]]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&log.segment().path).unwrap(), whole);
    }
    *options.faults.room.lock().unwrap() = None;
    log.append(&[b"after".to_vec()]).unwrap();
    drop(log);
    let (_, records) = open(dir.path(), &options).unwrap();
    assert_eq!(records, [(1, b"before".to_vec()), (2, b"after".to_vec())]);
}

#[test]
fn f46_a_full_disk_at_a_segments_end_leaves_no_segment() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 10, ..Options::default() };
    let (mut log, _) = open(dir.path(), &options).unwrap();
    log.append(&[vec![1; 100]]).unwrap();
    *options.faults.room.lock().unwrap() = Some(7);
    log.append(&[vec![2; 100]]).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    *options.faults.room.lock().unwrap() = None;
    log.append(&[vec![2; 100]]).unwrap();
    drop(log);
    assert_eq!(open(dir.path(), &options).unwrap().1.len(), 2);
}

#[test]
fn f47_a_failed_sync_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let (mut log, _) = open(dir.path(), &options).unwrap();
    log.append(&[b"x".to_vec()]).unwrap();
    options.faults.sync_fails.store(true, Ordering::SeqCst);
    assert!(log.sync().is_err());
}

#[test]
fn segments_follow_one_another_and_a_missing_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 100, ..Options::default() };
    let (mut log, _) = open(dir.path(), &options).unwrap();
    for n in 0..20u8 {
        log.append(&[vec![n; 60], vec![n]]).unwrap();
    }
    drop(log);
    let (mut log, records) = open(dir.path(), &options).unwrap();
    assert_eq!(records.len(), 40);
    assert!(log.segments.len() > 5);

    let mut from_7 = Vec::new();
    read_from(dir.path(), 7, &mut |entry| {
        from_7.push((entry.sequence, entry.bytes.to_vec()));
        Ok(())
    })
    .unwrap();
    assert_eq!(from_7, records[6..]);

    let middle = log.segments[3].path.clone();
    let torn = fs::read(&middle).unwrap();
    fs::write(&middle, &torn[..torn.len() - 3]).unwrap();
    assert!(open(dir.path(), &options).is_err(), "only the last segment may be torn");
    fs::remove_file(&middle).unwrap();
    assert!(open(dir.path(), &options).is_err(), "a gap is refused");
    fs::write(&middle, &torn).unwrap();

    let cut = log.segments[4].first;
    log.remove_before(cut).unwrap();
    drop(log);
    let (log, kept) = open(dir.path(), &options).unwrap();
    assert_eq!((log.first(), &kept[..]), (cut, &records[usize::try_from(cut).unwrap() - 1..]));
}
