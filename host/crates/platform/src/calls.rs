//! Calls: inference on models and plugins alike, and HTTP functions. The hot path: memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::event::Kind;
use aimass_core::trace::{SpanKind, Trace};
use aimass_core::{Code, Fault, ObjectRef, Result, Signature, Source, Tenant, Tensor};
use aimass_inference::process::Timing;
use aimass_sandbox::{Call, Plugin};
use http_body_util::{BodyExt as _, Either};

use crate::admission::Entered;
use crate::answer::Body;
use crate::deployments::{AnswerCopy, Live, Routing};
use crate::directory::Resolved;
use crate::statistics::Observation;
use crate::watch::Watch;
use crate::{Caller, Platform, Scope};

/// Where the time of a model's call went that took `took`.
fn observed(took: Duration, timing: &Timing) -> Observation {
    Observation {
        queue: timing.queue,
        // What is left is the way to the engine and back, most of it with the inputs.
        compute_input: took.saturating_sub(timing.queue + timing.compute),
        compute_infer: timing.compute,
        batch: timing.batch.into(),
        ..Observation::default()
    }
}

/// Tells of a model's call that has just ended, after `took`: when its turn came, and the engine's run.
pub(crate) fn tell_timing(trace: &Trace, took: Duration, timing: &Timing) {
    if trace.recorded() {
        trace.past("queue", took.saturating_sub(timing.queue), timing.queue, vec![]);
        let batch = vec![("aimass.batch.size", u64::from(timing.batch).into())];
        trace.past("engine run", Duration::ZERO, timing.compute, batch);
    }
}

fn bytes_of(tensors: &[Tensor]) -> u64 {
    tensors.iter().map(|tensor| tensor.data().len() as u64).sum()
}

/// What a caller may say about a call.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Less time than the platform would give.
    pub deadline: Option<Duration>,
    /// How many calls of guests stand above this one.
    pub depth: u32,
    /// Whether it gives way to the tenant's other calls, and to everybody's: nobody waits for it.
    pub behind: bool,
    /// Where it stands in its trace.
    pub trace: Trace,
    /// Nobody waits for it: it was accepted to be run later.
    pub background: bool,
    /// What the caller says about the choice among the versions of an HTTP function.
    pub routing: Routing,
    /// It is a copy of a call whose answer nobody gets: it changes no data, and sends nothing out.
    pub shadow: bool,
}

/// The version that served, in the extensions of an HTTP function's answer.
#[derive(Clone, Copy, Debug)]
pub struct ServedVersion(pub u64);

/// A version that can be called like a model: a model, or a plugin that exports `model`.
#[derive(Clone)]
pub struct Servable(pub(crate) Arc<Resolved>, pub(crate) Option<Arc<Live>>);

impl Servable {
    /// Plugin or model.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Its number.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// What it takes and gives.
    ///
    /// # Errors
    /// `unsupported_operation` for a plugin that is only an HTTP function.
    pub fn signature(&self) -> Result<&Signature> {
        self.0.signature()
    }
}

impl Platform {
    /// Checks that the token may call plugins or models at all.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn may_call(&self, by: &Caller) -> Result<()> {
        by.tenant()?;
        by.require(Scope::PluginsInvoke).or_else(|_| by.require(Scope::ModelsInvoke))
    }

    /// Finds what the Open Inference Protocol calls a model, to ask about it: of an alias that splits its calls, the
    /// version with the largest part.
    ///
    /// # Errors
    /// As [`Self::servable_by`].
    pub fn servable(&self, by: &Caller, reference: &ObjectRef) -> Result<Servable> {
        self.servable_by(by, reference, &Routing::main())
    }

    /// Finds what the Open Inference Protocol calls a model, to call it: an alias chooses the version by `routing`.
    ///
    /// # Errors
    /// `not_found`; `insufficient_scope` if the token may call neither plugins nor models, or not this kind;
    /// `invalid_request` for a routing that does not fit.
    pub fn servable_by(&self, by: &Caller, reference: &ObjectRef, routing: &Routing) -> Result<Servable> {
        self.may_call(by)?;
        let (resolved, live) = self.directory.resolve(by.tenant()?, reference, routing)?;
        by.require(match resolved.kind {
            Kind::Plugin => Scope::PluginsInvoke,
            Kind::Model => Scope::ModelsInvoke,
        })?;
        Ok(Servable(resolved, live))
    }

    /// Makes sure that it can serve: loads what is not in memory, also what was unloaded.
    ///
    /// # Errors
    /// What loading says.
    pub async fn load(&self, by: &Caller, servable: &Servable) -> Result<()> {
        let tenant = by.tenant()?;
        match servable.kind() {
            Kind::Plugin => self.loaded_plugin(tenant, &servable.0).await.map(drop)?,
            Kind::Model => self.models.load_resolved(tenant, &servable.0).await.map(drop)?,
        }
        servable.0.record.set_unloaded(false);
        Ok(())
    }

    /// The numbers of the versions that can be asked for, in order.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn served_versions(&self, by: &Caller, servable: &Servable) -> Result<Vec<u64>> {
        let rows = self.store.state().versions(by.tenant()?, &servable.0.name, None, usize::MAX)?;
        Ok(rows.into_iter().map(|row| row.version).collect())
    }

    /// Runs inference.
    ///
    /// # Errors
    /// `invalid_tensor` for inputs that do not fit the signature; what the model or the plugin says.
    pub async fn infer(
        &self,
        by: &Caller,
        servable: &Servable,
        inputs: Vec<Tensor>,
        options: CallOptions,
        request: &str,
    ) -> Result<Vec<Tensor>> {
        self.infer_as(by.tenant()?, servable, inputs, options, request).await
    }

    /// The same for a tenant whose right to it was checked before.
    pub(crate) async fn infer_as(
        &self,
        tenant: &Tenant,
        servable: &Servable,
        inputs: Vec<Tensor>,
        mut options: CallOptions,
        request: &str,
    ) -> Result<Vec<Tensor>> {
        let signature = servable.signature()?;
        let _entered = self.admit(tenant, &options.trace)?;
        let request: Arc<str> = request.into();
        let watch = self.watch(tenant, &servable.0, &request, &mut options);
        let used = &servable.0.record.used;
        used.came(bytes_of(&inputs));
        let outcome = match signature.check_inputs(&inputs) {
            Ok(()) => self.infer_checked(tenant, servable, inputs, &options, &request).await,
            Err(fault) => Err(fault),
        };
        used.went(outcome.as_deref().map_or(0, bytes_of));
        watch.ended(outcome.as_ref().err());
        outcome
    }

    async fn infer_checked(
        &self,
        tenant: &Tenant,
        servable: &Servable,
        inputs: Vec<Tensor>,
        options: &CallOptions,
        request: &Arc<str>,
    ) -> Result<Vec<Tensor>> {
        let resolved = &servable.0;
        let _live = (!options.background).then(|| self.invocations.live());
        let copied = self.shadows.copy(servable.1.as_deref(), &inputs);
        let started = Instant::now();
        let outcome = self.unless_erased(tenant, self.run(tenant, resolved, inputs, options, request)).await;
        let (took, recorder) = (started.elapsed(), &resolved.recorder);
        match &outcome {
            Ok((_, observation)) => {
                let whole = Observation { compute_infer: took, batch: 1, ..Observation::default() };
                recorder.succeeded(took, &observation.unwrap_or(whole));
            }
            Err(_) => recorder.failed(took),
        }
        if let (Some(copied), Ok((outputs, _))) = (copied, &outcome) {
            copied.follow(tenant, outputs, options, request);
        }
        recorder.ended_with(took, outcome.as_ref().err().map(|fault| fault.code().source()));
        outcome.map(|(outputs, _)| outputs).map_err(|fault| fault.of_version(servable.version()))
    }

    pub(crate) async fn run(
        &self,
        tenant: &Tenant,
        resolved: &Resolved,
        inputs: Vec<Tensor>,
        options: &CallOptions,
        request: &Arc<str>,
    ) -> Result<(Vec<Tensor>, Option<Observation>)> {
        resolved.record.set_unloaded(false);
        match resolved.kind {
            Kind::Plugin => {
                let plugin = self.loaded_plugin(tenant, resolved).await?;
                let call = self.call(tenant, resolved, options, request);
                self.sandbox.infer(&plugin, call, inputs).await.map(|outputs| (outputs, None))
            }
            Kind::Model => {
                let deadline = Instant::now() + self.deadline(options);
                let model = self.models.load_resolved(tenant, resolved).await?;
                let called = Instant::now();
                let (outputs, timing) = model.infer_at(inputs, deadline, options.behind).await?;
                let took = called.elapsed();
                tell_timing(&options.trace, took, &timing);
                resolved.record.used.engine(timing.compute, timing.batch);
                Ok((outputs, Some(observed(took, &timing))))
            }
        }
    }

    /// Calls an HTTP function.
    ///
    /// Without a caller only a public plugin answers; somebody else's plugin and one that does not exist look alike.
    ///
    /// # Errors
    /// `unauthenticated`, `insufficient_scope`, `not_found`, `unsupported_operation`, or what the plugin does.
    pub async fn function<B>(
        &self,
        by: Option<&Caller>,
        tenant: &aimass_core::Name,
        reference: &ObjectRef,
        request: http::Request<B>,
        mut options: CallOptions,
        request_id: &str,
    ) -> Result<http::Response<Body>>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (tenant, resolved, live) = self.function_access(by, tenant, reference, &options.routing)?;
        resolved.is_function()?;
        let _entered = self.admit(&tenant, &options.trace)?;
        let _live = (!options.background).then(|| self.invocations.live());
        let request_id: Arc<str> = request_id.into();
        let mut watch = self.watch(&tenant, &resolved, &request_id, &mut options);
        watch.function();
        resolved.recorder.function();
        let to_head = request.method() == http::Method::HEAD;
        let copied = self.shadows.copy_call(live.as_deref(), &request);
        let started = Instant::now();
        let called = async {
            let plugin = self.loaded_plugin(&tenant, &resolved).await?;
            let call = self.call(&tenant, &resolved, &options, &request_id);
            let record = resolved.record.clone();
            let request = request.map(|body| {
                let body = body.map_frame(move |frame| {
                    record.used.came(frame.data_ref().map_or(0, bytes::Bytes::len) as u64);
                    frame
                });
                match &copied {
                    Some(copied) => Either::Left(copied.keep(body)),
                    None => Either::Right(body),
                }
            });
            self.sandbox.http(&plugin, call, request).await
        };
        let answered = self.unless_erased(&tenant, called).await;
        let failed = match &answered {
            // The guest says so itself.
            Ok(response) => response.status().is_server_error().then_some(Source::Plugin),
            Err(fault) => Some(fault.code().source()),
        };
        resolved.recorder.ended_with(started.elapsed(), failed);
        match answered {
            Ok(mut response) => {
                if failed.is_none() {
                    // What fails behind the head, which is counted already.
                    let recorder = resolved.recorder.clone();
                    let told = move |fault: &Fault| recorder.failed_late(fault.code().source());
                    response = response.map(|body| body.on_failure(told));
                }
                response.extensions_mut().insert(ServedVersion(resolved.version));
                // Answers that have no body, by their status or by what was asked for.
                let status = response.status().as_u16();
                let empty = to_head || matches!(status, 204 | 304);
                let copied = copied.map(|call| Box::new(call.answered(&tenant, &options, &request_id, status, empty)));
                Ok(watched(response, watch, empty, copied))
            }
            Err(fault) => {
                watch.ended(Some(&fault));
                Err(fault.of_version(resolved.version))
            }
        }
    }

    /// Lets a call in, or says why not.
    pub(crate) fn admit(&self, tenant: &Tenant, trace: &Trace) -> Result<Option<Entered<'_>>> {
        let mut span = trace.span("admission", SpanKind::Internal);
        span.note_with("aimass.tenant", || tenant.to_string());
        let limits = self.limits_of(tenant);
        let entered = self.may_compute(tenant, &limits).and_then(|()| self.gate.enter(tenant, &limits));
        entered.inspect_err(|fault| span.fail(|| fault.code().as_str().into()))
    }

    /// Watches a call that was let in. What it does from now on stands below it in its trace.
    pub(crate) fn watch(
        &self,
        tenant: &Tenant,
        resolved: &Arc<Resolved>,
        request: &Arc<str>,
        options: &mut CallOptions,
    ) -> Watch {
        let span = Watch::span(tenant, resolved, request, &options.trace);
        options.trace = span.below(&options.trace);
        Watch::new(self.logs.clone(), tenant.clone(), resolved.clone(), request.clone(), span)
    }

    pub(crate) fn function_access(
        &self,
        by: Option<&Caller>,
        named: &aimass_core::Name,
        reference: &ObjectRef,
        routing: &Routing,
    ) -> Result<(Tenant, Arc<Resolved>, Option<Arc<Live>>)> {
        if let Some(tenant) = by.and_then(|caller| caller.tenant().ok()).filter(|tenant| tenant.name() == named) {
            let (resolved, live) = self.directory.resolve(tenant, reference, routing)?;
            if !resolved.public {
                by.map_or(Ok(()), |caller| caller.require(Scope::PluginsInvoke))?;
            }
            return Ok((tenant.clone(), resolved, live));
        }
        let tenant = self.auth.public(named);
        match self.directory.resolve(&tenant, reference, routing) {
            Ok((resolved, live)) if resolved.public => Ok((tenant, resolved, live)),
            _ if by.is_none() => Err(Fault::new(Code::Unauthenticated, "a valid token is required")),
            _ => Err(Fault::not_found()),
        }
    }

    pub(crate) async fn loaded_plugin(&self, tenant: &Tenant, resolved: &Resolved) -> Result<Arc<Plugin>> {
        self.sandbox.load(resolved.digest, self.store.blobs().read(tenant, &resolved.digest)).await
    }

    pub(crate) fn call(&self, tenant: &Tenant, resolved: &Resolved, options: &CallOptions, request: &Arc<str>) -> Call {
        let mut limits = self.limits.clone();
        limits.deadline = self.deadline(options);
        if options.shadow {
            (limits.writes, limits.outgoing_requests) = (false, 0);
        }
        Call {
            tenant: tenant.clone(),
            plugin: resolved.name.clone(),
            version: resolved.version,
            settings: resolved.settings.clone(),
            limits,
            request_id: request.clone(),
            depth: options.depth,
            trace: options.trace.clone(),
            meter: Some(resolved.record.clone()),
        }
    }

    fn deadline(&self, options: &CallOptions) -> Duration {
        options.deadline.map_or(self.limits.deadline, |asked| asked.min(self.limits.deadline))
    }
}

/// A function's answer, whose call is watched to its last byte.
fn watched(
    response: http::Response<aimass_sandbox::Body>,
    mut watch: Watch,
    empty: bool,
    copied: Option<Box<AnswerCopy>>,
) -> http::Response<Body> {
    let (parts, body) = response.into_parts();
    watch.status = Some(parts.status.as_u16());
    let declared = parts.headers.get(http::header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    http::Response::from_parts(parts, Body::new(body, watch, declared, empty, copied))
}
