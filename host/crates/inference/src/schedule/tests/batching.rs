//! Which requests are joined, and when a batch runs.

use super::*;

#[test]
fn a_lone_request_runs_at_once() {
    let (mut s, now) = subject(2);
    let model = s.add_model(batching(8, 5 * MS));
    push(&mut s, now, 'a', model, [1]);
    assert_eq!(run(&mut s, now).jobs, [1]);
}

#[test]
fn what_waited_together_runs_together_up_to_max_batch() {
    let (mut s, now) = subject(1);
    let model = s.add_model(batching(4, Duration::ZERO));
    push(&mut s, now, 'a', model, [0]);
    let first = run(&mut s, now);
    push(&mut s, now, 'a', model, 1..=6);
    assert_idle(&mut s, now);
    assert!(s.done(now, first.id, MS));
    let second = run(&mut s, now);
    assert_eq!((second.jobs, second.rows), (vec![1, 2, 3, 4], 4));
    assert!(s.done(now, second.id, MS));
    assert_eq!(run(&mut s, now).jobs, [5, 6]);
}

#[test]
fn without_batching_every_request_runs_alone() {
    let (mut s, now) = subject(3);
    let model = s.add_model(ModelPolicy::default());
    push(&mut s, now, 'a', model, 1..=3);
    for job in 1..=3 {
        assert_eq!(run(&mut s, now).jobs, [job]);
    }
}

#[test]
fn a_turn_takes_no_more_than_it_is_worth() {
    let (mut s, now) = subject(9);
    let model = s.add_model(batching(8, Duration::ZERO));
    push(&mut s, now, 'a', model, 1..=7);
    let mut asked = Vec::new();
    for worth in [1, 4, 0, 100] {
        let turn = |job: &u32, waiting| {
            asked.push((*job, waiting));
            worth
        };
        assert!(
            matches!(s.next(now, |_| false, turn), Next::Run(batch) if batch.jobs.len() as u64 == worth.clamp(1, 4))
        );
        if worth == 0 {
            push(&mut s, now, 'a', model, 8..=10);
        }
    }
    assert_eq!(asked, [(1, 7), (2, 6), (6, 2), (7, 4)]);
}

#[test]
fn only_equal_batch_keys_are_joined() {
    let (mut s, now) = subject(9);
    let model = s.add_model(batching(8, Duration::ZERO));
    for (job, key) in [(1, Some(7)), (2, Some(8)), (3, Some(7)), (4, None), (5, None), (6, Some(8))] {
        let batch_key = key.map(BatchKey);
        s.push(now, Request { batch_key, ..request(now, 'a', model, job) }).unwrap();
    }
    let mut batches: Vec<Vec<u32>> = (0..4).map(|_| run(&mut s, now).jobs).collect();
    batches.sort();
    assert_eq!(batches, [vec![1, 3], vec![2, 6], vec![4], vec![5]]);
}

#[test]
fn rows_count_and_nobody_is_overtaken_for_being_large() {
    let (mut s, now) = subject(9);
    let model = s.add_model(batching(8, Duration::ZERO));
    for (job, rows) in [(1, 3), (2, 6), (3, 1), (4, 20), (5, 0)] {
        s.push(now, Request { rows, ..request(now, 'a', model, job) }).unwrap();
    }
    // 3 + 6 is too much, so 2 begins the next batch; 4 is more than a batch by itself and runs alone.
    assert_eq!(run(&mut s, now).jobs, [1]);
    assert_eq!(run(&mut s, now).jobs, [2, 3]);
    let large = run(&mut s, now);
    assert_eq!((large.jobs, large.rows), (vec![4], 20));
    assert_eq!(run(&mut s, now).rows, 1, "no rows count as one");
}

#[test]
fn a_batch_is_held_back_while_another_is_under_way_and_no_longer_than_the_delay() {
    let (mut s, now) = subject(2);
    let model = s.add_model(batching(4, 5 * MS));
    push(&mut s, now, 'a', model, [0]);
    run(&mut s, now);
    push(&mut s, now + MS, 'a', model, [1]);
    push(&mut s, now + 2 * MS, 'a', model, [2]);
    assert_waits(&mut s, now + 2 * MS, now + 6 * MS);
    assert_eq!(run(&mut s, now + 6 * MS).jobs, [1, 2]);
}

#[test]
fn a_full_batch_is_not_held_back() {
    let (mut s, now) = subject(2);
    let model = s.add_model(batching(3, 5 * MS));
    push(&mut s, now, 'a', model, [0]);
    run(&mut s, now);
    push(&mut s, now, 'a', model, [1, 2]);
    assert_waits(&mut s, now, now + 5 * MS);
    push(&mut s, now, 'a', model, [3]);
    assert_eq!(run(&mut s, now).jobs, [1, 2, 3]);
}

#[test]
fn the_end_of_the_only_batch_under_way_ends_the_hold() {
    for lost in [false, true] {
        let (mut s, now) = subject(2);
        let model = s.add_model(batching(4, 5 * MS));
        push(&mut s, now, 'a', model, [0]);
        let first = run(&mut s, now);
        push(&mut s, now, 'a', model, [1]);
        assert_waits(&mut s, now, now + 5 * MS);
        assert!(if lost { s.lost(first.id) } else { s.done(now + MS, first.id, MS) });
        assert_eq!(run(&mut s, now + MS).jobs, [1]);
    }
}

#[test]
fn callers_that_were_answered_together_are_expected_back_once() {
    let (mut s, now) = subject(1);
    let model = s.add_model(batching(4, 5 * MS));
    push(&mut s, now, 'a', model, [1, 2]);
    let both = run(&mut s, now);
    assert!(s.done(now, both.id, MS));
    // The first is back; the second is waited for, in vain.
    push(&mut s, now + MS, 'a', model, [3]);
    assert_waits(&mut s, now + MS, now + 5 * MS);
    let alone = run(&mut s, now + 5 * MS);
    assert_eq!(alone.jobs, [3]);
    assert!(s.done(now + 6 * MS, alone.id, MS));
    push(&mut s, now + 7 * MS, 'a', model, [4]);
    assert_eq!(run(&mut s, now + 7 * MS).jobs, [4], "the wait that gained nothing was the last one");
}

#[test]
fn the_delay_counts_from_the_arrival_also_behind_busy_workers() {
    let (mut s, now) = subject(2);
    let (model, other) = (s.add_model(batching(2, 5 * MS)), s.add_model(ModelPolicy::default()));
    push(&mut s, now, 'a', other, [8, 9]);
    let busy = [run(&mut s, now), run(&mut s, now)];
    push(&mut s, now, 'a', model, [1, 2, 3]);
    for batch in busy {
        assert!(s.done(now + 9 * MS, batch.id, 9 * MS));
    }
    assert_eq!(run(&mut s, now + 9 * MS).jobs, [1, 2]);
    assert_eq!(run(&mut s, now + 9 * MS).jobs, [3]);
}

#[test]
fn a_hold_never_costs_a_deadline() {
    let (mut s, now) = subject(3);
    let model = s.add_model(batching(8, 5 * MS));
    push(&mut s, now, 'a', model, [0]);
    let first = run(&mut s, now);
    assert!(s.done(now, first.id, 3 * MS));
    push(&mut s, now, 'a', model, [1]);
    run(&mut s, now);
    // 5 ms held and 3 ms of computing are more than 7 ms.
    s.push(now, Request { deadline: now + 7 * MS, ..request(now, 'a', model, 2) }).unwrap();
    assert_eq!(run(&mut s, now).jobs, [2]);
    // The same for one that joins those held back already.
    push(&mut s, now, 'a', model, [3]);
    assert_waits(&mut s, now, now + 5 * MS);
    s.push(now, Request { deadline: now + 7 * MS, ..request(now, 'a', model, 4) }).unwrap();
    assert_eq!(run(&mut s, now).jobs, [3, 4]);
}

#[test]
fn a_batch_that_is_held_back_holds_up_nobody_else() {
    let (mut s, now) = subject(3);
    let (model, other) = (s.add_model(batching(8, 5 * MS)), s.add_model(ModelPolicy::default()));
    push(&mut s, now, 'a', model, [0]);
    run(&mut s, now);
    push(&mut s, now, 'a', model, [1]);
    push(&mut s, now, 'a', other, [2]);
    assert_eq!(run(&mut s, now).jobs, [2]);
    assert_waits(&mut s, now, now + 5 * MS);
}

#[test]
fn tenants_share_the_batches_of_a_shared_model_alone() {
    let (mut s, now) = subject(9);
    let (shared, own) = (s.add_model(batching(8, Duration::ZERO)), s.add_model(batching(8, Duration::ZERO)));
    push(&mut s, now, 'a', shared, [1, 2]);
    push(&mut s, now, 'b', shared, [3]);
    push(&mut s, now, 'b', own, [4]);
    let batch = run(&mut s, now);
    assert_eq!((batch.model, batch.jobs), (shared, vec![1, 2, 3]));
    assert_eq!(run(&mut s, now).jobs, [4]);
    assert_idle(&mut s, now);
}

#[test]
fn batching_can_be_turned_on_while_requests_wait() {
    let (mut s, now) = subject(1);
    let model = s.add_model(ModelPolicy::default());
    push(&mut s, now, 'a', model, 1..=4);
    let first = run(&mut s, now);
    assert!(s.done(now, first.id, MS));
    s.set_policy(model, batching(8, 5 * MS));
    assert_eq!(run(&mut s, now).jobs, [2, 3, 4]);
}
