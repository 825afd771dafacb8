//! Whose turn it is, and what the gates let through.

use super::*;

/// Runs `batches` batches one after the other, each for the time that its first job is given by `cost`, and counts
/// the time that each tenant got; `tenants[job % tenants.len()]` is whose a job is.
fn serve(
    s: &mut Subject,
    mut now: Instant,
    tenants: &[char],
    batches: u32,
    cost: impl Fn(char) -> Duration,
) -> Vec<f64> {
    let mut served = vec![0.0; tenants.len()];
    for _ in 0..batches {
        let batch = run(s, now);
        let tenant = batch.jobs[0] as usize % tenants.len();
        let took = cost(tenants[tenant]);
        now += took;
        served[tenant] += took.as_secs_f64();
        assert!(s.done(now, batch.id, took));
    }
    served
}

/// Models of their own, and a thousand requests each, job numbers by tenant.
fn backlog(s: &mut Subject, now: Instant, tenants: &[(char, u32)]) {
    for (index, (tenant, weight)) in tenants.iter().enumerate() {
        let model = s.add_model(ModelPolicy::default());
        for i in 0..1000 {
            let job = (i * tenants.len() + index) as u32;
            s.push(now, Request { weight: *weight, ..request(now, *tenant, model, job) }).unwrap();
        }
    }
}

#[test]
fn weights_divide_the_time() {
    let (mut s, now) = subject(1);
    backlog(&mut s, now, &[('a', 1), ('b', 3), ('c', 6)]);
    let served = serve(&mut s, now, &['a', 'b', 'c'], 1000, |_| MS);
    for (got, share) in served.iter().zip([0.1, 0.3, 0.6]) {
        assert!((got - share).abs() < 0.01, "{served:?}");
    }
}

#[test]
fn time_is_shared_and_not_requests() {
    let (mut s, now) = subject(1);
    backlog(&mut s, now, &[('a', 1), ('b', 1)]);
    // Both are thought to cost 1 ms (the hint); a's take twenty.
    let served = serve(&mut s, now, &['a', 'b'], 1000, |tenant| if tenant == 'a' { 20 * MS } else { MS });
    assert!((served[0] - served[1]).abs() < 0.1, "{served:?}");
}

#[test]
fn what_a_request_really_took_is_charged() {
    let (mut s, now) = subject(1);
    // One model, so one estimate, and it is wrong for both.
    let model = s.add_model(ModelPolicy::default());
    for i in 0..3000 {
        push(&mut s, now, 'a', model, [2 * i]);
        push(&mut s, now, 'b', model, [2 * i + 1]);
    }
    let served = serve(&mut s, now, &['a', 'b'], 2000, |tenant| if tenant == 'a' { 20 * MS } else { MS });
    assert!((served[0] - served[1]).abs() < 0.1, "{served:?}");
}

#[test]
fn one_request_at_a_time_leaves_no_debt_behind() {
    let (mut s, mut now) = subject(1);
    let (long, short) = (s.add_model(ModelPolicy::default()), s.add_model(ModelPolicy::default()));
    push(&mut s, now, 'b', short, (0..3000).map(|i| 2 * i));
    push(&mut s, now, 'a', long, [1]);
    let (mut served, mut rest) = ([0.0; 2], 0);
    for _ in 0..2000 {
        let batch = run(&mut s, now);
        let is_long = batch.model == long;
        let took = if is_long { 50 * MS } else { MS };
        now += took;
        served[usize::from(is_long)] += took.as_secs_f64();
        assert!(s.done(now, batch.id, took));
        // Back soon, but with an empty queue for some turns of the others.
        rest = if is_long { 3 } else { rest - 1 };
        if rest == 0 {
            push(&mut s, now, 'a', long, [1]);
        }
    }
    assert!((served[0] - served[1]).abs() < 0.2, "{served:?}");
}

#[test]
fn who_asks_seldom_does_not_wait_for_a_round() {
    let (mut s, now) = subject(1);
    let tenants: Vec<(char, u32)> = ('a'..='z').map(|tenant| (tenant, 1)).collect();
    backlog(&mut s, now, &tenants);
    let model = s.add_model(ModelPolicy::default());
    // Those that flood were new as well, once.
    let names: Vec<char> = tenants.iter().map(|(tenant, _)| *tenant).collect();
    serve(&mut s, now, &names, 100, |_| MS);
    let batch = run(&mut s, now);
    push(&mut s, now, '!', model, [7]);
    assert!(s.done(now, batch.id, MS));
    assert_eq!(run(&mut s, now).model, model);
}

#[test]
fn a_tenants_models_take_turns() {
    let (mut s, now) = subject(1);
    let models = [s.add_model(ModelPolicy::default()), s.add_model(ModelPolicy::default())];
    push(&mut s, now, 'a', models[0], 0..10);
    push(&mut s, now, 'a', models[1], 10..20);
    for turn in 0..10 {
        let batch = run(&mut s, now);
        assert_eq!(batch.model, models[turn % 2]);
        assert!(s.done(now, batch.id, MS));
    }
}

#[test]
fn a_flood_does_not_ride_on_anothers_batches() {
    let (mut s, mut now) = subject(1);
    let (shared, own) = (s.add_model(batching(8, Duration::ZERO)), s.add_model(ModelPolicy::default()));
    push(&mut s, now, 'f', shared, 0..20_000);
    push(&mut s, now, 'c', own, 30_000..40_000);
    let mut served = 0.0;
    let mut all = 0.0;
    for i in 0..3000 {
        // `a` has one request in every batch of the shared model; the flood has seven.
        push(&mut s, now, 'a', shared, [50_000 + i]);
        let batch = run(&mut s, now);
        now += MS;
        all += 1.0;
        served += f64::from(u8::from(batch.model == own));
        assert!(s.done(now, batch.id, MS));
    }
    // A third at least is c's share. If the flood could ride at will, a's turns would be nearly free, and c would
    // get a ninth.
    assert!(served / all > 0.3, "{served} of {all}");
}

#[test]
fn a_model_has_no_more_batches_under_way_than_it_has_instances() {
    let (mut s, now) = subject(4);
    let one = s.add_model(ModelPolicy { max_concurrency: 1, ..ModelPolicy::default() });
    let other = s.add_model(ModelPolicy::default());
    push(&mut s, now, 'a', one, [1, 2]);
    let first = run(&mut s, now);
    assert_idle(&mut s, now);
    push(&mut s, now, 'a', other, [3]);
    assert_eq!(run(&mut s, now).jobs, [3], "a closed gate holds up nobody else");
    assert!(s.done(now, first.id, MS));
    assert_eq!(run(&mut s, now).jobs, [2]);
}

#[test]
fn of_an_exclusive_group_one_batch_is_under_way() {
    let (mut s, now) = subject(4);
    let suspected = ModelPolicy { exclusive_group: Some(GroupId(1)), ..ModelPolicy::default() };
    let models = [s.add_model(suspected.clone()), s.add_model(ModelPolicy::default()), s.add_model(suspected.clone())];
    push(&mut s, now, 'a', models[0], [1]);
    push(&mut s, now, 'b', models[1], [2]);
    push(&mut s, now, 'c', models[2], [3]);
    let batches = [run(&mut s, now), run(&mut s, now)];
    assert_idle(&mut s, now);
    assert_eq!([batches[0].model, batches[1].model], [models[0], models[1]]);
    // It left the group meanwhile, and another one joined: the slot is the group's that it was taken from.
    s.set_policy(models[0], ModelPolicy::default());
    s.set_policy(models[1], suspected);
    assert_idle(&mut s, now);
    assert!(s.lost(batches[0].id));
    assert_eq!(run(&mut s, now).jobs, [3]);
    assert!(s.groups.contains_key(&GroupId(1)));
}

#[test]
fn a_gate_that_is_widened_lets_in_who_waits() {
    let (mut s, now) = subject(4);
    let model = s.add_model(ModelPolicy { max_concurrency: 1, ..ModelPolicy::default() });
    push(&mut s, now, 'a', model, [1, 2, 3]);
    run(&mut s, now);
    assert_idle(&mut s, now);
    s.set_policy(model, ModelPolicy { max_concurrency: 2, ..ModelPolicy::default() });
    assert_eq!(run(&mut s, now).jobs, [2]);
    assert_idle(&mut s, now);
}

#[test]
fn workers_can_come_and_go() {
    let (mut s, now) = subject(1);
    let model = s.add_model(ModelPolicy::default());
    push(&mut s, now, 'a', model, 1..=4);
    let first = run(&mut s, now);
    assert_idle(&mut s, now);
    s.set_workers(2);
    run(&mut s, now);
    s.set_workers(1);
    assert!(s.done(now, first.id, MS));
    assert_idle(&mut s, now);
    assert_eq!(s.running(), 1);
}
