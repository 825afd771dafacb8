//! Short calls first: a guest that has computed for long goes on at a lower priority.
//!
//! Epochs make guests take turns on a worker thread, and everybody who waits for a turn waits for all of them: with a
//! dozen endless loops, an answer of half a millisecond takes six. So the scheduler of operating systems is followed
//! (a multilevel feedback queue): a call starts among its equals, and once it has computed for [`SHORT`] its future
//! moves to threads of their own that the kernel gives less weight. While nobody else computes they have every core.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use aimass_core::usage::Meter;
use aimass_core::{Fault, Result};
use rustix::process::nice;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tracing::instrument::{Instrument as _, WithSubscriber as _};

/// How long a call is among the short ones by the clock on the wall, which is quick to read: one turn. From then on it
/// is the processor's time that counts, for on a busy machine most of a turn may be spent waiting for a processor.
const UNASKED: Duration = Duration::from_millis(1);

/// How long it then computes until it moves: one more turn.
const SHORT: Duration = Duration::from_millis(1);

/// How much the threads of long calls give way: 10 of 19. Beside a busy thread of the short ones a tenth of a core is
/// still theirs, so they are slowed down and not starved.
const NICE: i32 = 10;

/// The threads that long calls run on.
pub(crate) struct LongCalls {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl LongCalls {
    /// # Errors
    /// `internal` if the threads cannot be had.
    pub(crate) fn start() -> Result<Self> {
        let give_way = || {
            // On Linux it is the calling thread that gives way. Where that is not allowed, long calls compete as equals.
            let _ = nice(NICE);
        };
        let mut threads = Builder::new_multi_thread();
        threads.thread_name("long-calls").on_thread_start(give_way).enable_all();
        let runtime = threads.build().map_err(Fault::internal)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// `run`, demoted once it has computed for long. Dropping it drops `run`. In the end `meter` is told how long it
    /// has computed.
    pub(crate) fn demote<T: Send + 'static>(&self, run: Run<T>, meter: Option<Arc<dyn Meter>>) -> Demotable<T> {
        let short = Metered { run, used: Duration::ZERO, meter };
        Demotable { state: State::Short(short), computed: Duration::ZERO, long: self.handle.clone() }
    }
}

impl Drop for LongCalls {
    fn drop(&mut self) {
        // Whoever drops it may be a task, which must not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A guest's run.
pub(crate) type Run<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A run that moves to the [`LongCalls`] when it has computed for long.
pub(crate) struct Demotable<T> {
    state: State<T>,
    /// The processor's time since it was suspected to be long.
    computed: Duration,
    long: Handle,
}

enum State<T> {
    Short(Metered<T>),
    Long(JoinHandle<Result<T>>),
}

/// A run, with how long it has computed.
struct Metered<T> {
    run: Run<T>,
    used: Duration,
    meter: Option<Arc<dyn Meter>>,
}

impl<T> Future for Metered<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let started = Instant::now();
        let outcome = self.run.as_mut().poll(cx);
        self.used += started.elapsed();
        outcome
    }
}

impl<T> Drop for Metered<T> {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.ran(self.used);
        }
    }
}

impl<T: Send + 'static> Future for Demotable<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = &mut *self;
        if let State::Short(short) = &mut this.state {
            let started = (short.used >= UNASKED).then(processor_time);
            if let Poll::Ready(outcome) = Pin::new(&mut *short).poll(cx) {
                return Poll::Ready(outcome);
            }
            this.computed += started.map_or(Duration::ZERO, |started| processor_time().saturating_sub(started));
            if this.computed < SHORT {
                return Poll::Pending;
            }
            // Its wakers follow: it is polled over there at once, and registers anew whatever it waits for.
            let nothing = Metered { run: Box::pin(std::future::pending()), used: Duration::ZERO, meter: None };
            let run = std::mem::replace(short, nothing);
            this.state = State::Long(this.long.spawn(run.in_current_span().with_current_subscriber()));
        }
        match &mut this.state {
            State::Long(task) => Poll::Ready(ready!(Pin::new(task).poll(cx)).map_err(Fault::internal)?),
            State::Short(_) => Poll::Pending,
        }
    }
}

/// What this thread has computed. Asking takes a system call, of up to a microsecond.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl<T> Drop for Demotable<T> {
    fn drop(&mut self) {
        if let State::Long(task) = &self.state {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn thread() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    /// Computes for a millisecond a turn.
    async fn compute(turns: u32) {
        for _ in 0..turns {
            let started = Instant::now();
            while started.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn f14_who_computes_for_long_goes_on_among_its_equals() {
        let long = LongCalls::start().unwrap();
        let short = long.demote(Box::pin(async { Ok(thread()) }), None).await.unwrap();
        assert_eq!(short, thread(), "a short call stays where it is");
        let run = async {
            compute(5).await;
            Ok(thread())
        };
        assert_eq!(long.demote(Box::pin(run), None).await.unwrap(), "long-calls");
        let waits = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(thread())
        };
        assert_eq!(long.demote(Box::pin(waits), None).await.unwrap(), thread(), "waiting is no computing");
        // A thread that sleeps stands for one that the kernel gives no processor.
        let starved = async {
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(2));
                tokio::task::yield_now().await;
            }
            Ok(thread())
        };
        assert_eq!(long.demote(Box::pin(starved), None).await.unwrap(), thread(), "waiting for a processor neither");
    }

    #[tokio::test]
    async fn f14_who_gives_up_a_long_call_ends_it() {
        struct Told(Arc<AtomicBool>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let long = LongCalls::start().unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let told = Told(gone.clone());
        let endless = async move {
            let _told = told;
            compute(u32::MAX).await;
            Ok(())
        };
        let given_up = tokio::time::timeout(Duration::from_millis(50), long.demote(Box::pin(endless), None)).await;
        assert!(given_up.is_err());
        for _ in 0..500 {
            if gone.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it still runs");
    }
}
