//! The calls of a batch job: the same as anybody's, but behind those that somebody waits for.

use std::ops::Range;
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result, Tenant, Tensor};
use aimass_data::{Answer, Answers, Batch, Plan, Prepared};
use futures_util::{StreamExt, stream};

use crate::{CallOptions, Platform, Servable};

/// Calls of one batch under way at once, where each row is a call: enough for the engine to have the next one ready.
const AT_ONCE: usize = 8;
/// What is refused for a while is tried again for so long. An engine that is replaced is back long before.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two tries, unless the refusal says when.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Calls in a row that do not end before their deadline: then they never will.
const LATE: u32 = 3;

/// What a job calls.
pub(super) struct Target<'a> {
    pub(super) platform: &'a Platform,
    pub(super) tenant: &'a Tenant,
    pub(super) servable: &'a Servable,
    pub(super) plan: &'a Plan,
    /// The job's id, as the request that the calls belong to.
    pub(super) job: &'a str,
}

impl Target<'_> {
    /// Computes the rows of a batch. A row that cannot be is noted; what is no row's fault ends the job.
    pub(super) async fn compute(&self, batch: &Batch) -> Result<Answers> {
        let prepared = self.plan.prepare(batch)?;
        let mut answers = Answers::new(self.plan, &prepared);
        let calls = stream::iter(prepared.calls()).map(|call| self.solve(&prepared, call));
        let mut calls = std::pin::pin!(calls.buffered(AT_ONCE));
        while let Some(solved) = calls.next().await {
            for (rows, outcome) in solved? {
                match outcome {
                    Ok(answer) => answers.add(&prepared, &rows, answer),
                    Err(why) => answers.failed(&prepared, rows.start, why),
                }
            }
        }
        Ok(answers)
    }

    /// Computes some rows at once; if that fails, halves of them, until it is known which row it was.
    async fn solve(
        &self,
        prepared: &Prepared,
        call: Range<usize>,
    ) -> Result<Vec<(Range<usize>, Result<Answer, String>)>> {
        let (mut solved, mut open) = (vec![], vec![call]);
        while let Some(rows) = open.pop() {
            let inputs = prepared.tensors(&rows)?;
            let answer = self.call(inputs).await.and_then(|outputs| self.plan.answer(rows.len(), &outputs));
            match answer {
                Ok(answer) => solved.push((rows, Ok(answer))),
                Err(fault) if !is_rows(&fault) => return Err(fault),
                Err(fault) if rows.len() == 1 => {
                    solved.push((rows, Err(format!("{}: {}", fault.code(), fault.detail()))));
                }
                Err(_) => {
                    let middle = rows.start + rows.len() / 2;
                    open.extend([middle..rows.end, rows.start..middle]);
                }
            }
        }
        Ok(solved)
    }

    /// One call, again and again while it is refused only for now.
    async fn call(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let (begun, mut pause, mut late) = (Instant::now(), PAUSE, 0);
        loop {
            let tried = Instant::now();
            let options = CallOptions { behind: true, background: true, ..CallOptions::default() };
            let call = self.platform.infer_as(self.tenant, self.servable, inputs.clone(), options, self.job);
            let fault = match call.await {
                Ok(outputs) => return Ok(outputs),
                Err(fault) => fault,
            };
            if !matches!(fault.code(), Code::Unavailable | Code::Overloaded | Code::RateLimited) {
                return Err(fault);
            }
            if tried.elapsed() >= self.platform.longest_deadline() {
                late += 1;
                if late == LATE {
                    let detail = format!(
                        "calls do not end within {} s: take fewer rows at once (`batch_size`)",
                        self.platform.longest_deadline().as_secs()
                    );
                    return Err(Fault::new(Code::Unavailable, detail));
                }
            }
            if begun.elapsed() > PATIENCE {
                return Err(fault);
            }
            tokio::time::sleep(fault.retry().unwrap_or(pause).clamp(PAUSE / 10, LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether it is what a row holds that was refused.
fn is_rows(fault: &Fault) -> bool {
    use Code::{
        InvalidData, InvalidRequest, InvalidTensor, PluginDeadline, PluginFault, PluginResourceLimit, PluginTrap,
    };
    let codes =
        [InvalidData, InvalidRequest, InvalidTensor, PluginDeadline, PluginFault, PluginResourceLimit, PluginTrap];
    codes.contains(&fault.code())
}
