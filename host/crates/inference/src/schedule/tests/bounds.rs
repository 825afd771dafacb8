//! What is refused, what is dropped, and that both leave nothing behind.

use super::*;

fn full(rejected: Result<RequestId, Rejected<u32>>) -> (Bound, Duration) {
    match rejected.unwrap_err().why {
        Rejection::Full { bound, retry_after } => (bound, retry_after),
        other => panic!("{other:?}"),
    }
}

#[test]
fn f58_a_full_queue_answers_at_once_and_takes_again_when_there_is_room() {
    let now = Instant::now();
    let config = Config { workers: 2, queue: 6, queue_per_tenant: 4, queue_per_model: 3 };
    let mut s = Subject::new(config);
    let models = [s.add_model(ModelPolicy::default()), s.add_model(ModelPolicy::default())];
    push(&mut s, now, 'a', models[0], 1..=3);
    assert_eq!(full(s.push(now, request(now, 'a', models[0], 9))).0, Bound::Model);
    push(&mut s, now, 'a', models[1], [4]);
    assert_eq!(full(s.push(now, request(now, 'a', models[1], 9))).0, Bound::Tenant);
    push(&mut s, now, 'b', models[1], 5..=6);
    assert_eq!(full(s.push(now, request(now, 'c', models[1], 9))).0, Bound::Whole);
    // The pool of workers is used up as well; refusing goes on, and gives every job back.
    let under_way = [run(&mut s, now), run(&mut s, now)];
    push(&mut s, now, 'b', models[1], [7]);
    push(&mut s, now, 'c', models[0], [8]);
    let started = Instant::now();
    for job in 0..10_000 {
        let rejected = s.push(now, request(now, 'd', models[0], job)).unwrap_err();
        assert_eq!(rejected.job, job);
        assert_idle(&mut s, now);
    }
    assert!(started.elapsed() < Duration::from_secs(10_000) / 100, "10 ms each");
    assert_eq!((s.queued(), s.running()), (6, 2));
    for batch in under_way {
        assert!(s.done(now, batch.id, MS));
    }
    let mut served = 0;
    while let Next::Run(batch) = next(&mut s, now) {
        served += batch.jobs.len();
        assert!(s.done(now, batch.id, MS));
    }
    assert_eq!((served, s.queued(), s.running()), (6, 0, 0));
    push(&mut s, now, 'd', models[0], [1]);
}

#[test]
fn retry_after_is_what_the_backlog_takes_at_the_measured_rate() {
    let now = Instant::now();
    let mut s = Subject::new(Config { queue: 100, queue_per_tenant: 10, ..config(2) });
    let model = s.add_model(ModelPolicy::default());
    push(&mut s, now, 'a', model, 0..10);
    assert_eq!(full(s.push(now, request(now, 'a', model, 9))), (Bound::Tenant, Duration::from_secs(1)), "unmeasured");
    let batch = run(&mut s, now);
    assert!(s.done(now, batch.id, 100 * MS));
    push(&mut s, now, 'a', model, [10]);
    // Ten requests of 100 ms for two workers.
    assert_eq!(full(s.push(now, request(now, 'a', model, 9))).1, 500 * MS);
    // With a second tenant of three times the weight, a quarter of them.
    s.push(now, Request { weight: 3, ..request(now, 'b', model, 11) }).unwrap();
    assert_eq!(full(s.push(now, request(now, 'a', model, 9))).1, 2000 * MS);
}

#[test]
fn what_is_past_its_deadline_is_never_run_and_is_handed_out() {
    let (mut s, now) = subject(1);
    let model = s.add_model(batching(8, Duration::ZERO));
    for (job, deadline) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
        s.push(now, Request { deadline: now + deadline * MS, ..request(now, 'a', model, job) }).unwrap();
    }
    assert_eq!(s.take_dropped(now + 9 * MS), []);
    let batch = run(&mut s, now + 10 * MS);
    assert_eq!(batch.jobs, [1, 3]);
    let mut dropped = s.take_dropped(now + 10 * MS);
    dropped.sort_by_key(|d| matches!(d, Dropped::Expired(4)));
    assert_eq!(dropped, [Dropped::Expired(2), Dropped::Expired(4)]);
    assert_eq!(s.queued(), 0);
}

#[test]
fn a_worker_that_waits_is_told_when_a_request_expires() {
    let (mut s, now) = subject(2);
    let model = s.add_model(ModelPolicy { max_concurrency: 1, ..ModelPolicy::default() });
    push(&mut s, now, 'a', model, [1]);
    run(&mut s, now);
    s.push(now, Request { deadline: now + 5 * MS, ..request(now, 'a', model, 2) }).unwrap();
    assert_waits(&mut s, now, now + 5 * MS);
    assert!(matches!(next(&mut s, now + 5 * MS), Next::Idle));
    assert_eq!(s.take_dropped(now + 5 * MS), [Dropped::Expired(2)]);
}

#[test]
fn expired_requests_make_room() {
    let now = Instant::now();
    let mut s = Subject::new(Config { queue: 1, ..config(1) });
    let model = s.add_model(ModelPolicy::default());
    s.push(now, Request { deadline: now + MS, ..request(now, 'a', model, 1) }).unwrap();
    assert!(s.push(now, request(now, 'b', model, 2)).is_err());
    assert!(s.push(now + MS, request(now, 'b', model, 2)).is_ok());
}

#[test]
fn who_has_left_is_dropped_instead_of_run() {
    let (mut s, now) = subject(1);
    let model = s.add_model(batching(2, Duration::ZERO));
    push(&mut s, now, 'a', model, 1..=5);
    let Next::Run(batch) = s.next(now, |job| [1, 3, 5].contains(job), |_, _| u64::MAX) else { panic!() };
    assert_eq!(batch.jobs, [2, 4]);
    assert!(s.done(now, batch.id, MS));
    assert!(matches!(s.next(now, |_| true, |_, _| u64::MAX), Next::Idle));
    let dropped = s.take_dropped(now);
    assert_eq!(dropped, [Dropped::Gone(1), Dropped::Gone(3), Dropped::Gone(5)]);
}

#[test]
fn a_request_can_be_taken_back_from_anywhere_once() {
    let (mut s, now) = subject(1);
    let model = s.add_model(batching(8, Duration::ZERO));
    let ids: Vec<RequestId> = (0..5).map(|job| s.push(now, request(now, 'a', model, job)).unwrap()).collect();
    for job in [0, 2, 4] {
        assert_eq!(s.cancel(ids[job]), Some(job as u32));
        assert_eq!(s.cancel(ids[job]), None);
    }
    assert_eq!(run(&mut s, now).jobs, [1, 3]);
    assert_eq!(s.cancel(ids[1]), None);
}

#[test]
fn a_batch_ends_once() {
    let (mut s, now) = subject(1);
    let model = s.add_model(ModelPolicy::default());
    push(&mut s, now, 'a', model, [1, 2]);
    let batch = run(&mut s, now);
    assert!(s.done(now, batch.id, MS));
    assert!(!s.done(now, batch.id, MS) && !s.lost(batch.id));
    let second = run(&mut s, now);
    assert!(!s.lost(batch.id), "an old name ends no new batch");
    assert_eq!(s.running(), 1);
    assert!(s.lost(second.id));
    assert_eq!(s.running(), 0);
}

#[test]
fn a_removed_model_gives_its_requests_back_and_its_permits_still_return() {
    let (mut s, now) = subject(2);
    let exclusive = ModelPolicy { exclusive_group: Some(GroupId(1)), ..batching(2, 5 * MS) };
    let (model, other) = (s.add_model(exclusive.clone()), s.add_model(exclusive));
    push(&mut s, now, 'a', model, 1..=5);
    push(&mut s, now, 'b', model, [6]);
    push(&mut s, now, 'b', other, [7]);
    let batch = run(&mut s, now);
    let mut jobs = s.remove_model(model);
    jobs.sort_unstable();
    assert_eq!((jobs, s.queued(), s.queued_for(model)), (vec![3, 4, 5, 6], 1, 0));
    let again = s.push(now, request(now, 'a', model, 8)).unwrap_err();
    assert_eq!(again, Rejected { job: 8, why: Rejection::NoModel });
    assert_idle(&mut s, now);
    assert!(s.done(now, batch.id, MS));
    assert_eq!(run(&mut s, now).jobs, [7]);
    assert!(s.remove_model(model).is_empty());
}

#[test]
fn memory_follows_what_waits_and_not_what_has_been() {
    let mut s = Scheduler::<u32, u32>::new(config(1));
    let now = Instant::now();
    let model = s.add_model(batching(8, 5 * MS));
    for i in 0..10_000 {
        // A tenant and a batch key of its own each time; half are run, half are taken back.
        let now = now + MS * i;
        let request = Request {
            tenant: i,
            weight: 1,
            model,
            rows: 1,
            batch_key: Some(BatchKey(u64::from(i))),
            deadline: now + HOUR,
            cost_hint: None,
            job: i,
        };
        let id = s.push(now, Request { tenant: 0, ..request.clone() }).unwrap();
        assert_eq!(s.cancel(id), Some(i));
        s.push(now, request).unwrap();
        let Next::Run(batch) = s.next(now, |_| false, |_, _| u64::MAX) else { panic!() };
        assert!(s.done(now, batch.id, MS));
    }
    let sizes = [
        s.rounds.len(),
        s.tenants.len(),
        s.flows.len(),
        s.flow_of.len(),
        s.lanes.len(),
        s.deadlines.len(),
        s.holds.len(),
    ];
    assert!(sizes.iter().all(|size| *size <= 300), "{sizes:?}");
}

#[test]
fn absurd_numbers_do_no_harm() {
    let (mut s, now) = subject(1);
    let model = s.add_model(batching(u32::MAX, Duration::MAX));
    for round in 0..100 {
        for tenant in ['a', 'b'] {
            let absurd = Request {
                weight: if round % 2 == 0 { u32::MAX } else { 0 },
                rows: u32::MAX,
                cost_hint: Some(Duration::MAX),
                ..request(now, tenant, model, round)
            };
            s.push(now, absurd).unwrap();
        }
        for _ in 0..2 {
            let batch = run(&mut s, now);
            assert!(s.done(now, batch.id, Duration::MAX));
        }
    }
    assert_idle(&mut s, now);
}
