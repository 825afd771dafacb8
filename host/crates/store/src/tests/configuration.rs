//! Which configurations of a plugin's are kept, and what is in them.

use aimass_core::Code;
use aimass_core::event::{
    AliasSet, BatchWork, Change, Deployment, Event, JobCreated, JobEnded, JobOutcome, JobWork, Route, RowErrors,
    SecretDeleted, SecretSet, Settings, Share,
};
use aimass_core::seam::Configuration as _;

use super::*;
use crate::{next_configuration, seal_secret, seal_settings};

struct Plugin {
    store: Store,
    _dir: tempfile::TempDir,
}

impl Plugin {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &Options::default()).unwrap();
        record(&store, created("acme")).await.unwrap();
        record(&store, version("acme", "p", 1, Digest::of(b""), 0)).await.unwrap();
        Self { store, _dir: dir }
    }

    fn next(&self) -> u64 {
        next_configuration(&self.store.state(), &tenant("acme"), &name("p")).unwrap()
    }

    async fn set(&self, value: &str) {
        let (seal, number) = (self.store.seal(&tenant("acme")).await.unwrap(), self.next());
        let settings = Settings::from([("v".to_owned(), value.to_owned())]);
        let sealed = Some(seal_settings(&seal, &name("p"), number, &settings).unwrap());
        let (tenant, name, settings) = (name("acme"), name("p"), Settings::new());
        record(&self.store, Event::SettingsReplaced { tenant, name, settings, number, sealed }).await.unwrap();
    }

    async fn secret(&self, value: &str, everywhere: bool) {
        let (seal, number) = (self.store.seal(&tenant("acme")).await.unwrap(), self.next());
        let sealed = seal_secret(&seal, &name("p"), "s", number, value).unwrap();
        let (tenant, name, key) = (name("acme"), name("p"), "s".to_owned());
        record(&self.store, Event::SecretSet(SecretSet { tenant, name, key, number, sealed, everywhere }))
            .await
            .unwrap();
    }

    async fn forget(&self, everywhere: bool) -> Result<()> {
        let (tenant, name, key, number) = (name("acme"), name("p"), "s".to_owned(), self.next());
        record(&self.store, Event::SecretDeleted(SecretDeleted { tenant, name, key, number, everywhere })).await
    }

    async fn deploy(&self, alias: &str, configuration: Option<u64>) -> Result<()> {
        let split = vec![Share { configuration, ..Share::new(1, 1) }];
        let route = Route { split, shadow: None, shadow_configuration: None, canary: None };
        let deployment = Deployment { route, change: Change::Deployed, restores: None, gate: None, seen: vec![] };
        let (tenant, object, alias) = (name("acme"), name("p"), name(alias));
        record(&self.store, Event::AliasSet(AliasSet { tenant, name: object, alias, deployment })).await
    }

    /// The configurations that there are of the first nine, each as `settings/secret`.
    fn kept(&self) -> Vec<(u64, String)> {
        let open = |number| self.store.configuration(&tenant("acme"), &name("p"), Some(number));
        let kept = (1..=9).filter_map(|number| match open(number) {
            Ok(configuration) => {
                let values = configuration.open().unwrap();
                Some((number, format!("{}/{}", values.get("v").unwrap_or("-"), values.get("s").unwrap_or("-"))))
            }
            Err(fault) => {
                assert_eq!(fault.code(), Code::NotFound);
                None
            }
        });
        kept.collect()
    }

    /// The numbers under which sealed values lie.
    fn values(&self) -> Vec<u64> {
        let state = self.store.state();
        let value = |number: &u64| state.sealed_value(&tenant("acme"), &name("p"), *number).unwrap().is_some();
        (1..=9).filter(value).collect()
    }
}

fn kept(of: &[(u64, &str)]) -> Vec<(u64, String)> {
    of.iter().map(|&(number, values)| (number, values.to_owned())).collect()
}

#[tokio::test]
async fn what_a_deployment_can_bring_back_is_kept_and_nothing_else() {
    let plugin = Plugin::new().await;
    assert_eq!(plugin.deploy("prod", Some(1)).await.unwrap_err().code(), Code::Conflict, "there is none yet");
    plugin.deploy("prod", Some(0)).await.unwrap();
    plugin.set("a").await;
    plugin.secret("x", false).await;
    assert_eq!(plugin.kept(), kept(&[(2, "a/x")]), "nothing runs with the first");
    assert_eq!(plugin.values(), [1, 2], "but its settings are those of the second");
    plugin.deploy("prod", Some(2)).await.unwrap();
    plugin.set("b").await;
    plugin.set("c").await;
    assert_eq!(plugin.kept(), kept(&[(2, "a/x"), (4, "c/x")]));
    assert_eq!(plugin.values(), [1, 2, 4]);
    assert_eq!(plugin.deploy("prod", Some(3)).await.unwrap_err().code(), Code::Conflict, "it is gone");
    // What the alias said before can be gone back to.
    plugin.deploy("prod", Some(4)).await.unwrap();
    plugin.set("d").await;
    assert_eq!(plugin.kept(), kept(&[(2, "a/x"), (4, "c/x"), (5, "d/x")]));
    // Before any configuration there was an empty one.
    let empty = plugin.store.configuration(&tenant("acme"), &name("p"), Some(0)).unwrap();
    assert_eq!(empty.open().unwrap().iter().count(), 0);
    record(&plugin.store, Event::ObjectDeleted { tenant: name("acme"), name: name("p") }).await.unwrap();
    assert_eq!((plugin.kept(), plugin.values()), (vec![], vec![]));
}

#[tokio::test]
async fn a_secret_that_is_set_everywhere_leaves_nothing_of_the_one_before() {
    let plugin = Plugin::new().await;
    plugin.set("a").await;
    plugin.deploy("old", Some(1)).await.unwrap();
    plugin.secret("x", false).await;
    plugin.deploy("prod", Some(2)).await.unwrap();
    plugin.secret("y", false).await;
    assert_eq!(plugin.kept(), kept(&[(1, "a/-"), (2, "a/x"), (3, "a/y")]));
    plugin.secret("z", true).await;
    assert_eq!(plugin.kept(), kept(&[(1, "a/-"), (2, "a/z"), (4, "a/z")]), "who had none gets none");
    assert_eq!(plugin.values(), [1, 4], "the values of before are gone");
    plugin.forget(false).await.unwrap();
    assert_eq!(plugin.kept(), kept(&[(1, "a/-"), (2, "a/z"), (5, "a/-")]));
    assert_eq!(plugin.forget(false).await.unwrap_err().code(), Code::NotFound);
    plugin.forget(true).await.unwrap();
    assert_eq!(plugin.kept(), kept(&[(1, "a/-"), (2, "a/-"), (6, "a/-")]));
    assert_eq!(plugin.forget(true).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(plugin.values(), [1]);
}

#[tokio::test]
async fn a_job_keeps_the_configuration_that_it_runs_with() {
    let plugin = Plugin::new().await;
    plugin.set("a").await;
    let JobWork::Batch(work) = super::index::work(1);
    let batch = |configuration| {
        let work = BatchWork { target: name("p"), configuration, ..work.clone() };
        Event::JobCreated(JobCreated { tenant: name("acme"), id: "1".to_owned(), work: JobWork::Batch(work) })
    };
    assert_eq!(record(&plugin.store, batch(Some(2))).await.unwrap_err().code(), Code::Conflict);
    record(&plugin.store, batch(Some(1))).await.unwrap();
    plugin.set("b").await;
    assert_eq!(plugin.kept(), kept(&[(1, "a/-"), (2, "b/-")]));
    let (outcome, errors) = (JobOutcome::Cancelled, RowErrors::default());
    let ended = JobEnded { tenant: name("acme"), id: "1".to_owned(), outcome, errors };
    record(&plugin.store, Event::JobEnded(ended)).await.unwrap();
    plugin.set("c").await;
    assert_eq!(plugin.kept(), kept(&[(3, "c/-")]));
}

#[tokio::test]
async fn settings_of_before_there_was_sealing_stay_for_who_serves_with_them() {
    let plugin = Plugin::new().await;
    let settings = Settings::from([("v".to_owned(), "plain".to_owned())]);
    let event = Event::SettingsReplaced { tenant: name("acme"), name: name("p"), settings, number: 0, sealed: None };
    record(&plugin.store, event).await.unwrap();
    plugin.deploy("prod", Some(0)).await.unwrap();
    plugin.secret("x", false).await;
    assert_eq!(plugin.kept(), kept(&[(1, "plain/x")]));
    plugin.set("a").await;
    let before = plugin.store.configuration(&tenant("acme"), &name("p"), Some(0)).unwrap();
    assert_eq!(before.settings().unwrap()["v"], "plain");
    assert_eq!(plugin.kept(), kept(&[(2, "a/x")]));
}
