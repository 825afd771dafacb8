//! A journal's file. Checksums count as right here (`cfg(fuzzing)`), or nothing behind them would be reached.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let journal = folder.path().join("journal");
    fs::create_dir(&journal).expect("the journal's folder");
    fs::write(journal.join("00000000000000000001.log"), input).expect("a file");
    if let Ok(report) = aimass_store::verify_journal(folder.path()) {
        // A record takes more bytes than one.
        assert!(report.records <= input.len() as u64);
    }
});
