//! The table of a backend: a line a case, read by people in diffs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::case::Form;

/// What became of a case.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Right,
    Refused(String),
    Wrong(String),
    Panicked(String),
}

impl Verdict {
    /// An engine that gave an error. What it said of a panic that was caught on the way counts as a panic.
    pub(super) fn without_answer(reason: String) -> Self {
        if reason.contains("panicked") { Self::Panicked(reason) } else { Self::Refused(reason) }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Refused(_) => "refused",
            Self::Wrong(_) => "wrong",
            Self::Panicked(_) => "panicked",
        }
    }

    fn show(&self) -> String {
        let (Self::Refused(reason) | Self::Wrong(reason) | Self::Panicked(reason)) = self else {
            return self.word().to_owned();
        };
        assert!(!reason.trim().is_empty(), "a refusal without a reason");
        format!("{}, {}", self.word(), reason.replace(['\n', '|'], " "))
    }
}

/// A case in both forms.
pub(super) type Row = [Verdict; 2];

pub(super) struct Table {
    pub(super) rows: BTreeMap<String, Row>,
}

/// What stands between the forms where they differ.
const BETWEEN: &str = " | constant: ";

/// `test_x: refused, the reason | constant: right`; the second part only where it differs.
pub(super) fn line(name: &str, [first, second]: &Row) -> String {
    match first == second {
        true => format!("{name}: {}", first.show()),
        false => format!("{name}: {}{BETWEEN}{}", first.show(), second.show()),
    }
}

impl Table {
    /// How many of each, a line a form.
    pub(super) fn counts(&self) -> String {
        let lines = Form::ALL.map(|form| {
            let count = |word| self.rows.values().filter(|row| row[form as usize].word() == word).count();
            let counts = ["right", "refused", "wrong", "panicked"].map(|word| format!("{} {word}", count(word)));
            format!("# {}: {}", form.name(), counts.join(", "))
        });
        lines.join("\n")
    }

    /// Compares with the file, or rewrites it to `accept` what changed. `whole`: a case that is in one of them alone
    /// is a change as well. Reasons are for people: only the verdicts are compared.
    ///
    /// # Errors
    /// The cases that changed, a line each.
    pub(super) fn keep(&self, path: &Path, whole: bool, accept: bool) -> Result<(), Vec<String>> {
        let before = fs::read_to_string(path).unwrap_or_default();
        let before: BTreeMap<&str, [&str; 2]> = before.lines().filter_map(parse).collect();
        let mut changes = Vec::new();
        for (name, row) in &self.rows {
            let now = [row[0].word(), row[1].word()];
            match before.get(name.as_str()) {
                Some(was) if *was == now => {}
                Some(was) => changes.push(format!("- {name}: {}{BETWEEN}{}\n+ {}", was[0], was[1], line(name, row))),
                None if whole => changes.push(format!("+ {}", line(name, row))),
                None => {}
            }
        }
        let gone = before.keys().filter(|name| whole && !self.rows.contains_key(**name));
        changes.extend(gone.map(|name| format!("- {name}")));

        if whole && accept {
            println!("{} cases changed, and the table is rewritten\n{}", changes.len(), changes.join("\n"));
            let rows: Vec<String> = self.rows.iter().map(|(name, row)| line(name, row)).collect();
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{}\n{}\n", self.counts(), rows.join("\n"))).unwrap();
            return Ok(());
        }
        if changes.is_empty() { Ok(()) } else { Err(changes) }
    }
}

/// The name and the verdicts of a line; nothing for a comment.
fn parse(line: &str) -> Option<(&str, [&str; 2])> {
    let (name, verdicts) = line.strip_prefix("test_").map(|_| line)?.split_once(": ")?;
    let (first, second) = verdicts.split_once(BETWEEN).unwrap_or((verdicts, verdicts));
    let word = |verdict: &str| verdict.find(',').unwrap_or(verdict.len());
    Some((name, [&first[..word(first)], &second[..word(second)]]))
}

#[test]
fn a_line_is_read_as_it_was_written_and_a_change_is_named() {
    let refused = |why: &str| Verdict::Refused(why.into());
    let rows = [
        ("test_a", [Verdict::Right, Verdict::Right]),
        ("test_b", [refused("no, | never"), Verdict::Right]),
        ("test_c", [refused("a"), refused("b")]),
    ];
    let rows: BTreeMap<String, Row> = rows.into_iter().map(|(n, r)| (n.to_owned(), r)).collect();
    let written: Vec<String> = rows.iter().map(|(name, row)| line(name, row)).collect();
    assert_eq!(written[1], "test_b: refused, no,   never | constant: right");
    let read: Vec<_> = written.iter().map(|l| parse(l).unwrap()).collect();
    assert_eq!(read[1], ("test_b", ["refused", "right"]));
    assert_eq!(read[2], ("test_c", ["refused", "refused"]));

    let path = std::env::temp_dir().join(format!("aimass-table-{}.txt", std::process::id()));
    fs::write(&path, format!("# counts\n{}\ntest_d: right\n", written[..2].join("\n"))).unwrap();
    let mut table = Table { rows };
    table.rows.insert("test_a".into(), [Verdict::Right, Verdict::Wrong("1, not 2".into())]);
    let changes = table.keep(&path, true, false).unwrap_err();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert!(changes[0].contains("- test_a: right | constant: right\n+ test_a: right | constant: wrong, 1, not 2"));
    assert!(changes[1].starts_with("+ test_c") && changes[2].starts_with("- test_d"));
    assert_eq!(table.keep(&path, false, false).unwrap_err().len(), 1, "of some cases only these are compared");
    fs::remove_file(path).unwrap();
}
