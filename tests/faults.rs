//! The catalogue of faults: every row has a test that bears its number (`f14_…`), or stands here with the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::root;
use crate::tidy::sources;

/// Rows of the catalogue, from 1.
const ROWS: u8 = 66;

/// Rows without a test, and why.
const OPEN: &[(u8, &str)] = &[(66, "there is one released version of the WIT package")];

/// The rows that a source's tests bear in their names, with the tests.
fn rows_of(text: &str) -> impl Iterator<Item = (u8, &str)> {
    let names = text.lines().filter_map(|line| line.trim_start().split("fn ").nth(1)?.split('(').next());
    names.flat_map(|name| {
        let numbered = |part: &str| match part.strip_prefix('f')?.as_bytes() {
            [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some((a - b'0') * 10 + b - b'0'),
            _ => None,
        };
        // A test may stand for several: `f22_f23_…`.
        name.split('_').map_while(numbered).map(move |row| (row, name)).collect::<Vec<_>>()
    })
}

#[test]
fn every_row_has_a_test_or_a_reason() {
    let mut tests = BTreeMap::<u8, BTreeSet<String>>::new();
    for folder in ["tests", "host", "sdk-guest"] {
        for (_, text) in sources(&root().join(folder)) {
            for (row, name) in rows_of(&text) {
                tests.entry(row).or_default().insert(name.to_owned());
            }
        }
    }
    for row in 1..=ROWS {
        let open = OPEN.iter().find(|(number, _)| *number == row).map(|(_, reason)| *reason);
        match (tests.get(&row), open) {
            (Some(names), None) => println!("{row:2} {}", names.iter().cloned().collect::<Vec<_>>().join(", ")),
            (None, Some(reason)) => println!("{row:2} open: {reason}"),
            (Some(names), Some(_)) => panic!("row {row} is no longer open: {names:?}"),
            (None, None) => panic!("row {row} has no test (`f{row:02}_…`) and no reason in OPEN"),
        }
    }
    let unknown: Vec<_> = tests.keys().filter(|row| !(1..=ROWS).contains(*row)).collect();
    assert!(unknown.is_empty(), "there are no rows {unknown:?}");
}
