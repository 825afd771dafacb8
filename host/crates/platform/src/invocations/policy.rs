//! What becomes of a call after an attempt: pure.

use std::time::Duration;

use aimass_core::{Code, Fault, Source};

/// The pause before the second attempt; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest pause of a call that is not let in.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// For so long a call that is not let in (a full queue, the tenant's own limits) is tried without that counting.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was answered.
    Done,
    /// It is tried again after this time; `counted` is false if nothing was tried yet.
    Again { after: Duration, counted: bool },
    /// It is given up.
    Dead,
}

/// How many attempts a call had, and may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tries {
    /// This attempt's number, from 1.
    pub(super) attempt: u32,
    /// Attempts until it is given up.
    pub(super) most: u32,
    /// Since when it was accepted.
    pub(super) age: Duration,
}

/// Judges an attempt that was answered with `status`, and with a fault if that was the platform's own answer.
/// `random` spreads the pauses, so that calls that failed together do not come back together.
///
/// What the guest itself answers is an answer, whatever it is; but with 429, 500, 502, 503 or 504 it asks for another
/// try, as it does of every client.
pub(super) fn judge(status: u16, fault: Option<&Fault>, tries: Tries, random: u64) -> Verdict {
    let (retryable, let_in) = match fault.map(Fault::code) {
        None => (matches!(status, 429 | 500 | 502 | 503 | 504), true),
        // Nothing has run.
        Some(Code::RateLimited | Code::Overloaded) => (true, false),
        Some(Code::PluginTrap | Code::PluginDeadline | Code::PluginResourceLimit) => (true, true),
        // Damage does not heal by trying.
        Some(Code::Integrity) => (false, true),
        Some(code) => (code.source() == Source::Platform, true),
    };
    if !retryable {
        return if fault.is_none() { Verdict::Done } else { Verdict::Dead };
    }
    let counted = let_in || tries.age >= PATIENCE;
    if counted && tries.attempt >= tries.most {
        return Verdict::Dead;
    }
    let told = fault.and_then(Fault::retry).unwrap_or_default();
    // What waits for long may wait a little longer: each look costs two writes.
    let waits = || (tries.age / 8).clamp(FIRST, LONGEST_WAIT);
    let after = if counted { pause(tries.attempt, random) } else { part(waits(), random) };
    let after = after.max(told.min(LONGEST));
    Verdict::Again { after, counted }
}

/// The pause after attempt `attempt`: exponential.
pub(super) fn pause(attempt: u32, random: u64) -> Duration {
    part(FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST), random)
}

/// A random part of a pause, between half and all of it.
fn part(whole: Duration, random: u64) -> Duration {
    let half = whole / 2;
    let part = (random >> 32) as u32;
    half + Duration::from_nanos((half.as_nanos() * u128::from(part) >> 32) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(attempt: u32) -> Tries {
        Tries { attempt, most: 3, age: Duration::from_secs(60) }
    }

    fn of(code: Code) -> Fault {
        Fault::new(code, "")
    }

    #[test]
    fn a_guests_own_answer_is_one_unless_it_asks_for_another_try() {
        for status in [200, 204, 301, 400, 404, 409, 422, 501] {
            assert_eq!(judge(status, None, tries(1), 0), Verdict::Done, "{status}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(judge(status, None, tries(1), 0), Verdict::Again { counted: true, .. }), "{status}");
            assert_eq!(judge(status, None, tries(3), 0), Verdict::Dead, "{status}");
        }
    }

    #[test]
    fn the_callers_faults_are_never_tried_again_and_the_platforms_are() {
        for &code in Code::ALL {
            let verdict = judge(0, Some(&of(code)), tries(1), 0);
            let again = matches!(verdict, Verdict::Again { .. });
            match code {
                Code::RateLimited => assert!(again),
                Code::Integrity | Code::PluginFault | Code::CallDepth => assert_eq!(verdict, Verdict::Dead, "{code}"),
                _ => assert_eq!(again, code.source() != Source::Caller, "{code}"),
            }
        }
    }

    #[test]
    fn what_was_not_let_in_waits_for_a_day_without_its_attempts_being_used_up() {
        let full = of(Code::Overloaded);
        assert!(matches!(judge(503, Some(&full), tries(3), 0), Verdict::Again { counted: false, .. }));
        let old = Tries { age: PATIENCE, ..tries(3) };
        assert_eq!(judge(503, Some(&full), old, 0), Verdict::Dead);
        let told = of(Code::RateLimited).retry_after(Duration::from_secs(7));
        let Verdict::Again { after, .. } = judge(429, Some(&told), tries(1), 0) else { panic!() };
        assert_eq!(after, Duration::from_secs(7));
    }

    #[test]
    fn pauses_grow_spread_and_end() {
        for attempt in 1..40 {
            let (least, most) = (pause(attempt, 0), pause(attempt, u64::MAX));
            assert!(least < most && most <= 2 * least && most <= LONGEST, "{attempt}: {least:?} {most:?}");
            assert!(pause(attempt + 1, 0) >= least);
        }
        assert_eq!(pause(1, 0), FIRST / 2);
        assert_eq!(pause(u32::MAX, 0), LONGEST / 2);
    }
}
