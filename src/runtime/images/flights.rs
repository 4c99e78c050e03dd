//! Pulls under way: one for all who ask for the same with the same logins, which are tried one after the other.
//!
//! Rules: pkg/kubelet/kuberuntime/kuberuntime_image.go PullImage: where there are logins, nothing is asked for without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_client::services::v1::Image as ImageRecord;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Semaphore;

use super::progress::Progress;
use super::pull::{Fault, Origin, Pull, PullError};
use super::reference::ImageReference;
use super::store::{self, Lease};
use super::{Images, SHORT_LEASE, lock};
use crate::config::Credential;
use crate::runtime::{Image, ImageError, ImageRequest, PullNote};

/// Pulls that run at once; others wait their turn. (The kubelet's default is one; a stalled registry must not hold up all others.)
const AT_ONCE: usize = 8;
/// How often those that wait are told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

type Pulling = BoxFuture<'static, Result<Image, ImageError>>;

/// What makes two pulls the same. The logins are part of it: one that is refused must not decide for others.
#[derive(PartialEq, Eq, Hash)]
struct Which {
    name: String,
    logins: Vec<Credential>,
}

struct Flight {
    pulling: WeakShared<Pulling>,
    progress: Arc<Progress>,
}

/// The pulls of one [`Images`].
pub(super) struct Flights {
    /// Weak: a pull that nobody waits for any more stops.
    under_way: Mutex<HashMap<Which, Flight>>,
    turns: Semaphore,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self { under_way: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Images {
    /// Joins the pull that is under way, or starts one. `tell` hears that it begins, and how far it is.
    pub(super) async fn pull_shared(
        self: &Arc<Self>,
        reference: ImageReference,
        request: ImageRequest<'_>,
        local: Option<ImageRecord>,
        tell: &(dyn Fn(PullNote) + Sync),
    ) -> Result<Image, ImageError> {
        tell(PullNote::Begun);
        let logins = self.logins(&reference, request);
        let (flight, progress) = self.flight(reference, request.reference, local, logins);
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TOLD_EVERY, TOLD_EVERY);
        tokio::pin!(flight);
        loop {
            // Cancel-safe: the flight goes on where it stood, a tick is no more than a tick.
            tokio::select! {
                biased;
                outcome = &mut flight => return outcome,
                _ = tick.tick() => {
                    if let Some(progress) = progress.now() {
                        tell(PullNote::Progress(progress));
                    }
                }
            }
        }
    }

    fn flight(
        self: &Arc<Self>,
        reference: ImageReference,
        written: &str,
        local: Option<ImageRecord>,
        logins: Vec<Credential>,
    ) -> (Shared<Pulling>, Arc<Progress>) {
        let mut under_way = lock(&self.flights.under_way);
        under_way.retain(|_, flight| flight.pulling.upgrade().is_some_and(|flight| flight.peek().is_none()));
        let which = Which { name: reference.to_string(), logins };
        if let Some((pulling, progress)) = under_way.get(&which).and_then(|f| Some((f.pulling.upgrade()?, f.progress.clone()))) {
            return (pulling, progress);
        }
        let progress = Arc::<Progress>::default();
        let pulling = self.clone().pull_or_local(reference, written.to_owned(), local, which.logins.clone(), progress.clone());
        let pulling: Shared<Pulling> = pulling.boxed().shared();
        if let Some(weak) = pulling.downgrade() {
            under_way.insert(which, Flight { pulling: weak, progress: progress.clone() });
        }
        (pulling, progress)
    }

    /// The pod's logins, then the node's.
    fn logins(&self, reference: &ImageReference, request: ImageRequest<'_>) -> Vec<Credential> {
        let name = reference.name();
        let mut logins = request.keyring.lookup(&name);
        logins.extend(self.node_keyring().lookup(&name));
        logins
    }

    async fn pull_or_local(
        self: Arc<Self>,
        reference: ImageReference,
        written: String,
        local: Option<ImageRecord>,
        logins: Vec<Credential>,
        progress: Arc<Progress>,
    ) -> Result<Image, ImageError> {
        let Ok(_turn) = self.flights.turns.acquire().await else {
            return Err(ImageError::Pull { reference: written, cause: "no more pulls are begun".to_owned() });
        };
        let limit = self.limits.total;
        let pulled = tokio::time::timeout(limit, self.pull_with(&reference, local.as_ref(), logins, &progress)).await;
        let error = match pulled {
            Ok(Ok(image)) => return Ok(image),
            Ok(Err(error)) => error,
            Err(_) => PullError { fault: Fault::RegistryAway, cause: format!("not done within {} s", limit.as_secs()) },
        };
        match local {
            Some(record) if error.fault == Fault::RegistryAway => {
                tracing::warn!(image = %reference, cause = %error.cause, "the registry does not answer; using the local copy");
                self.open(&record).await.map_err(|e| self.image_error(&written, e.into()))
            }
            _ => Err(self.image_error(&written, error)),
        }
    }

    /// With each login until one is good. A registry that is away is away for all of them.
    async fn pull_with(
        &self,
        reference: &ImageReference,
        local: Option<&ImageRecord>,
        logins: Vec<Credential>,
        progress: &Progress,
    ) -> Result<Image, PullError> {
        let mut refused: Vec<String> = Vec::new();
        let tries: Vec<Option<Credential>> = if logins.is_empty() { vec![None] } else { logins.into_iter().map(Some).collect() };
        for login in tries {
            match self.pull(reference, local, login, progress).await {
                Ok(image) => return Ok(image),
                Err(error) if error.fault == Fault::Refused => {
                    if !refused.contains(&error.cause) {
                        refused.push(error.cause);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let cause = if refused.len() == 1 { refused.remove(0) } else { format!("[{}]", refused.join(", ")) };
        Err(PullError { fault: Fault::Refused, cause })
    }

    async fn pull(
        &self,
        reference: &ImageReference,
        local: Option<&ImageRecord>,
        login: Option<Credential>,
        progress: &Progress,
    ) -> Result<Image, PullError> {
        let session = self.registries.session(reference, login).map_err(|error| error.resolving(reference))?;
        if let Some(record) = local {
            let digest = session.digest().await.map_err(|error| error.resolving(reference))?;
            if record.target.as_ref().is_some_and(|target| target.digest == digest)
                && let Ok(image) = self.open(record).await
            {
                return Ok(Image { pulled: true, ..image });
            }
        }
        tracing::info!(image = %reference, "pulling");
        let lease = Lease::new(&self.connection, self.limits.total + SHORT_LEASE).await?;
        let stall = self.limits.stall;
        let pull = Pull { connection: &self.connection, origin: Origin::Registry(&session), lease: &lease, reference, stall, progress };
        let target = pull.fetch().await?;
        let name = reference.to_string();
        store::record_image(&self.connection, &name, target.clone(), HashMap::new()).await?;
        let record = ImageRecord { name, target: Some(target), ..Default::default() };
        let image = self.open_under(&record, Some(&lease)).await?;
        lease.end().await;
        Ok(Image { pulled: true, ..image })
    }
}
