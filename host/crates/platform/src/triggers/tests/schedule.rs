//! Row 60: daylight saving, jumps of the clock. Row 61: missed runs.
#![allow(clippy::unwrap_used)]

use super::*;

fn schedule(cron: &str, zone: &str, catch_up_seconds: u64) -> Schedule {
    let source = CronSource { schedule: cron.to_owned(), time_zone: zone.to_owned(), catch_up_seconds };
    Schedule::read(&source).unwrap()
}

fn ms(text: &str) -> u64 {
    text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
}

/// Every slot between two instants, as they are in UTC.
fn slots(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let (mut at, end) = (ms(from), ms(to));
    let mut found = vec![];
    while let Some(slot) = schedule.next_after(at).filter(|slot| *slot < end) {
        assert!(slot > at, "time goes on");
        found.push(Timestamp::from_millisecond(slot.try_into().unwrap()).unwrap().to_string());
        at = slot;
    }
    found
}

/// A node that looks at its clock at these times, and fires what is due.
fn fired(schedule: &Schedule, since: &str, looks: impl IntoIterator<Item = u64>) -> Vec<(u64, bool)> {
    let mut last = ms(since);
    let mut fired = vec![];
    for now in looks {
        if let Some(Due { slot_ms, caught_up }) = schedule.due(last, now) {
            fired.push((slot_ms, caught_up));
            last = slot_ms;
        }
    }
    fired
}

fn seconds(from: &str, to: &str) -> impl Iterator<Item = u64> {
    (ms(from)..ms(to)).step_by(1000)
}

#[test]
fn a_zone_is_the_clock_that_is_meant() {
    let berlin = schedule("0 7 * * MON", "Europe/Berlin", 3600);
    // 2026-01-05 and 2026-07-06 are Mondays; summer time is an hour ahead.
    assert_eq!(berlin.next_after(ms("2026-01-01T00:00:00Z")), Some(ms("2026-01-05T06:00:00Z")));
    assert_eq!(berlin.next_after(ms("2026-07-01T00:00:00Z")), Some(ms("2026-07-06T05:00:00Z")));
    assert_eq!(schedule("*/10 * * * * *", "UTC", 0).next_after(5_000), Some(10_000));
}

#[test]
fn f60_a_time_that_does_not_exist_fires_once_at_the_jump() {
    // On 2026-03-29 at 02:00 in Berlin it is 03:00 (01:00 UTC).
    let nightly = schedule("30 2 * * *", "Europe/Berlin", 3600);
    assert_eq!(
        slots(&nightly, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    // In New York on 2026-03-08.
    let nightly = schedule("15 2 * * *", "America/New_York", 3600);
    assert_eq!(slots(&nightly, "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"), ["2026-03-08T07:00:00Z"]);
    // What names the lost hour and the one behind it fires once at the jump, too.
    let both = schedule("0 2,3 * * *", "Europe/Berlin", 3600);
    assert_eq!(slots(&both, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"), ["2026-03-29T01:00:00Z"]);
}

#[test]
fn f60_a_time_that_exists_twice_fires_once() {
    // On 2026-10-25 at 03:00 in Berlin it is 02:00 again (01:00 UTC).
    let nightly = schedule("30 2 * * *", "Europe/Berlin", 3600);
    assert_eq!(
        slots(&nightly, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z"),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    // Also for a node that looks in the second of the two hours, after a start.
    assert_eq!(nightly.due(ms("2026-10-25T00:30:00Z"), ms("2026-10-25T01:30:05Z")), None);
    // What repeats within the hour goes on in both.
    let quarters = schedule("*/15 2 * * *", "Europe/Berlin", 3600);
    let twice = slots(&quarters, "2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z");
    let distinct: std::collections::BTreeSet<_> = twice.iter().collect();
    assert_eq!((twice.len(), distinct.len()), (7, 7), "the first, at 00:00, is not after the start: {twice:?}");
}

#[test]
fn f60_over_the_days_when_clocks_change_no_slot_fires_twice_and_none_is_left_out() {
    for (cron, zone, days) in [
        ("30 2 * * *", "Europe/Berlin", ["2026-03-28T18", "2026-10-24T18"]),
        ("*/30 * * * *", "America/New_York", ["2026-03-07T18", "2026-10-31T18"]),
        // Where the clock goes forward at midnight.
        ("0 0 * * *", "Asia/Beirut", ["2026-03-28T18", "2026-10-24T18"]),
    ] {
        for day in days {
            let schedule = schedule(cron, zone, 3600);
            let start = format!("{day}:00:00Z");
            let end = Timestamp::from_millisecond((ms(&start) + 36 * 3_600_000) as i64).unwrap().to_string();
            let fired = fired(&schedule, &start, (ms(&start)..ms(&end)).step_by(9_000));
            assert_eq!(fired.len(), slots(&schedule, &start, &end).len(), "{cron} {zone}");
            assert!(fired.windows(2).all(|pair| pair[0].0 < pair[1].0) && fired.iter().all(|(_, late)| !late));
        }
    }
}

#[test]
fn f60_a_clock_that_jumps_forward_catches_up_once() {
    let minutely = schedule("* * * * *", "UTC", 3600);
    let looks = seconds("2026-05-01T12:00:30Z", "2026-05-01T12:02:30Z")
        .chain(seconds("2026-05-01T13:02:30Z", "2026-05-01T13:03:30Z"));
    let fired = fired(&minutely, "2026-05-01T12:00:30Z", looks);
    let expected = ["12:01", "12:02", "13:02", "13:03"].map(|t| ms(&format!("2026-05-01T{t}:00Z")));
    assert_eq!(fired.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), expected);
    assert_eq!(fired.iter().map(|(_, late)| *late).collect::<Vec<_>>(), [false, false, true, false]);
}

#[test]
fn f60_a_clock_that_jumps_back_fires_nothing_twice() {
    let minutely = schedule("* * * * *", "UTC", 3600);
    let looks = seconds("2026-05-01T12:59:30Z", "2026-05-01T13:01:30Z")
        .chain(seconds("2026-05-01T12:01:30Z", "2026-05-01T13:02:30Z"));
    let fired = fired(&minutely, "2026-05-01T12:59:30Z", looks);
    let expected = ["13:00", "13:01", "13:02"].map(|t| (ms(&format!("2026-05-01T{t}:00Z")), false));
    assert_eq!(fired, expected);
}

#[test]
fn f61_missed_slots_are_caught_up_with_once_within_the_window() {
    let hourly = |catch_up| schedule("0 * * * *", "UTC", catch_up);
    let (last, now) = (ms("2026-05-01T08:00:00Z"), ms("2026-05-01T12:20:00Z"));
    let newest = Due { slot_ms: ms("2026-05-01T12:00:00Z"), caught_up: true };
    assert_eq!(hourly(3600).due(last, now), Some(newest));
    assert_eq!(hourly(3600).due(newest.slot_ms, now + 1000), None, "once");
    assert_eq!(hourly(600).due(last, now), None, "too late for ten minutes");
    assert_eq!(hourly(0).due(last, now), None, "never");
    // But a slot that is looked at a little late is on time, whatever is said of missed ones.
    let on_time = Due { caught_up: false, ..newest };
    assert_eq!(hourly(0).due(last, newest.slot_ms + 9_000), Some(on_time));
}

#[test]
fn what_is_no_schedule_is_refused_and_said_to_be() {
    let read = |cron: &str, zone: &str, catch_up_seconds| {
        Schedule::read(&CronSource { schedule: cron.to_owned(), time_zone: zone.to_owned(), catch_up_seconds })
    };
    for (cron, zone, catch_up) in [
        ("", "UTC", 0),
        ("61 * * * *", "UTC", 0),
        ("* * *", "UTC", 0),
        ("* * * * * * * *", "UTC", 0),
        ("a b c d e", "UTC", 0),
        (&"* ".repeat(200), "UTC", 0),
        ("* * * * *", "Europe/Atlantis", 0),
        ("* * * * *", "../../etc/passwd", 0),
        ("* * * * *", "UTC", 86_401),
    ] {
        let fault = read(cron, zone, catch_up).unwrap_err();
        assert_eq!(fault.code(), aimass_core::Code::InvalidRequest, "{cron} {zone}");
    }
    // The 30th of February never comes, and to find that out is quick.
    assert_eq!(read("0 0 30 2 *", "UTC", 0).unwrap().next_after(0), None);
}
