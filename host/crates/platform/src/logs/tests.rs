#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use aimass_core::logs::{Level, Line, LogKeeper, Said};
use aimass_core::{Name, Tenant};

use super::query::Filter;
use super::{LogQuery, Logs, lock};

fn tenant(name: &str) -> Tenant {
    Tenant::vouched_for(name.parse().unwrap())
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn line(text: &str) -> Line {
    let said = Said::Guest { context: "stdout".into(), text: text.into() };
    Line { time_ms: 1, level: Level::Info, request_id: "r".into(), version: 1, said }
}

/// The texts that are there, the oldest first.
fn texts(logs: &Logs, tenant: &Tenant, plugin: &Name) -> Vec<String> {
    let mut texts = vec![];
    logs.newest((tenant, plugin), &Filter::new(&LogQuery::default()), u64::MAX, |_, line| {
        texts.push(line.text);
        true
    });
    texts.reverse();
    texts
}

#[test]
fn the_newest_lines_stay_and_numbers_tell_what_is_gone() {
    let (logs, acme, hello) = (Logs::new(1 << 20), tenant("acme"), name("hello"));
    for n in 0..10_000 {
        logs.keep(&acme, &hello, line(&format!("line {n}")));
    }
    let kept = texts(&logs, &acme, &hello);
    assert!((50..400).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap(), "line 9999");
    let piece = lock(&logs.book(&acme)).after(&hello, 5, 10).unwrap();
    assert_eq!(piece.lost, 10_000 - kept.len() as u64 - 5);
    assert_eq!((piece.lines.len(), piece.next), (10, piece.lost + 15));
    assert!(texts(&logs, &tenant("other"), &hello).is_empty());
}

#[test]
fn f22_a_flood_of_lines_costs_bounded_memory_and_its_own_plugins_lines_first() {
    let logs = Logs::new(4 << 20);
    let (loud, quiet) = (tenant("loud"), tenant("quiet"));
    logs.keep(&quiet, &name("calm"), line("still here"));
    logs.keep(&loud, &name("calm"), line("still here"));
    let long = "x".repeat(8 << 10);
    for n in 0..2_000 {
        logs.keep(&loud, &name(&format!("p{}", n % 7)), line(&long));
    }
    assert!(lock(&logs.book(&loud)).bytes() <= 4 << 17, "an eighth is the tenant's");
    assert_eq!(texts(&logs, &loud, &name("calm")), ["still here"]);
    // Many tenants together.
    for n in 0..60 {
        for _ in 0..100 {
            logs.keep(&tenant(&format!("t{n}")), &name("p"), line(&long));
        }
    }
    assert!(logs.total.load(super::Relaxed) <= (4 << 20) + (16 << 10), "the node's bound holds");
    assert_eq!(texts(&logs, &quiet, &name("calm")), ["still here"]);
    let sum: usize = logs.books.read().unwrap().values().map(|book| lock(book).bytes()).sum();
    assert_eq!(sum, logs.total.load(super::Relaxed), "nothing is counted twice or forgotten");
}

#[test]
fn what_is_forgotten_is_gone_and_numbers_are_never_given_again() {
    let (logs, acme, hello) = (Logs::new(1 << 20), tenant("acme"), name("hello"));
    for n in 0..5 {
        logs.keep(&acme, &hello, line(&n.to_string()));
    }
    logs.forget(&acme, &hello);
    assert!(lock(&logs.book(&acme)).after(&hello, 0, 1).is_none());
    assert_eq!(logs.total.load(super::Relaxed), 0);
    logs.keep(&acme, &hello, line("new"));
    assert_eq!(lock(&logs.book(&acme)).oldest(&hello), 5);
}

#[test]
fn a_thousand_plugins_that_said_one_thing_each_do_not_stay_for_ever() {
    let (logs, acme) = (Logs::new(1 << 20), tenant("acme"));
    for n in 0..5_000 {
        logs.keep(&acme, &name(&format!("p{n}")), line("once"));
    }
    assert!(lock(&logs.book(&acme)).bytes() <= 1 << 17);
    assert!((4_900..5_000).any(|n| !texts(&logs, &acme, &name(&format!("p{n}"))).is_empty()));
}

#[test]
fn lines_are_found_by_what_they_are() {
    let (logs, acme, hello) = (Logs::new(1 << 20), tenant("acme"), name("hello"));
    for (level, request, text) in
        [(Level::Info, "a", "Started"), (Level::Warn, "a", "slow disk"), (Level::Error, "b", "DISK full")]
    {
        let said = Said::Guest { context: "main".into(), text: text.into() };
        logs.keep(&acme, &hello, Line { time_ms: 7, level, request_id: request.into(), version: 1, said });
    }
    let found = |query: LogQuery| {
        let mut found = vec![];
        logs.newest((&acme, &hello), &Filter::new(&query), u64::MAX, |_, line| {
            found.push(line.text);
            true
        });
        found
    };
    let any = LogQuery::default();
    assert_eq!(found(LogQuery { text: Some("Disk".into()), ..any.clone() }), ["DISK full", "slow disk"]);
    assert_eq!(
        found(LogQuery { level: Some(Level::Warn), request_id: Some("a".into()), ..any.clone() }),
        ["slow disk"]
    );
    assert!(found(LogQuery { since_ms: Some(8), ..any.clone() }).is_empty());
    assert_eq!(found(LogQuery { until_ms: Some(7), ..any }).len(), 3);
}

#[test]
fn many_writers_and_the_bound_hold_together() {
    let logs = Arc::new(Logs::new(1 << 20));
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let logs = logs.clone();
            scope.spawn(move || {
                for n in 0..2_000 {
                    let of = tenant(&format!("t{}", (writer + n) % 13));
                    logs.keep(&of, &name("p"), line(&"y".repeat(n % 2_000)));
                }
            });
        }
    });
    assert!(logs.total.load(super::Relaxed) <= (1 << 20) + 8 * (4 << 10));
}
