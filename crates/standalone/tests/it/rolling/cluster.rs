//! Two of each service: the real programs on real servers, behind balancers where others connect to them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{BlobStore, JobStore};
use testkit::inbox::Inbox;
use testkit::servers::{MongoDb, ServerProcess, TestDatabase, TestVhost, amqp_vhost, free_port, mysql_database};
use testkit::until;
use testkit::visitor::Visitor;

use super::balancer::{Balancer, readiness};

/// How long the gateway's requests have after SIGTERM, in seconds: more than any but the longest upload needs.
const GRACE: &str = "10";

/// Two of each service, in the order in which they are replaced.
pub(super) struct Cluster {
    pub(super) instances: Vec<Instance>,
    pub(super) gateways: Balancer,
    pub(super) inbox: Inbox,
    pub(super) jobs: Arc<dyn JobStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
    database: TestDatabase,
    _auths: Balancer,
    _vhost: TestVhost,
    _mongodb: MongoDb,
    _scratch: tempfile::TempDir,
}

/// One instance of a service, whichever process it is.
pub(super) struct Instance {
    pub(super) service: &'static str,
    pub(super) listen: SocketAddr,
    pub(super) process: ServerProcess,
    operations: SocketAddr,
    log: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mongodb = MongoDb::start(&scratch.path().join("mongodb")).await.unwrap();
        let (database, vhost) = (mysql_database().await, amqp_vhost().await);
        let inbox = Inbox::start().await.unwrap();
        let stores = [
            ("JOBS_URL", mongodb.url()),
            ("BLOBS_URL", mongodb.url()),
            ("QUEUE_URL", vhost.url.expose().to_owned()),
            ("PUBLIC_URL", "http://mp3converter.test".to_owned()),
        ];
        let launch = |service, variables: &[(&'static str, String)]| -> [Instance; 2] {
            [1, 2].map(|number| {
                let log = scratch.path().join(format!("{service}-{number}.log"));
                Instance::launch(service, log, variables.to_vec())
            })
        };
        let before = |instances: &[Instance; 2]| {
            let places = instances
                .each_ref()
                .map(|instance| (instance.listen, instance.operations));
            Balancer::start(places)
        };

        let auths = launch(
            "auth",
            &[
                ("USERS_URL", database.url.expose().to_owned()),
                ("JWT_SECRET", "a secret of the tests, more than 32 bytes".to_owned()),
            ],
        );
        let auth_balancer = before(&auths).await;
        let of_gateway = [
            ("AUTH_SVC_ADDRESS", auth_balancer.address.to_string()),
            ("SHUTDOWN_GRACE", GRACE.to_owned()),
            // How full this machine's disk is proves nothing.
            ("MIN_FREE_PERCENT", "0".to_owned()),
        ];
        let gateways = launch("gateway", &[&stores[..], &of_gateway].concat());
        let gateway_balancer = before(&gateways).await;
        let converters = launch("converter", &stores);
        let of_notification = [("SMTP_URL", inbox.url()), ("MAIL_FROM", "robot@example.com".to_owned())];
        let notifications = launch("notification", &[&stores[..], &of_notification].concat());
        let mut instances: Vec<Instance> = [auths, gateways, converters, notifications]
            .into_iter()
            .flatten()
            .collect();
        for instance in &mut instances {
            instance.is_ready().await;
        }
        let url = mongodb.url().parse().unwrap();
        Self {
            instances,
            gateways: gateway_balancer,
            inbox,
            jobs: adapters::jobs::connect(&url).unwrap(),
            blobs: adapters::blobs::connect(&url).unwrap(),
            database,
            _auths: auth_balancer,
            _vhost: vhost,
            _mongodb: mongodb,
            _scratch: scratch,
        }
    }

    /// Makes an account and logs in with it, through the balancer.
    pub(super) async fn visitor(&self, email: &str, password: &str) -> Visitor {
        let users = adapters::users::connect(&self.database.url).unwrap();
        auth::accounts::create_if_missing(&*users, &email.parse().unwrap(), password)
            .await
            .unwrap();
        until("a gateway is ready for the balancer", async || {
            Visitor::login(&self.base(), email, password).await.ok()
        })
        .await
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.gateways.address)
    }

    /// The ends of the logs, for a test that fails.
    pub(super) fn logs(&self) -> String {
        let log = |instance: &Instance| format!("--- {}\n{}\n", instance.log.display(), instance.process.log_tail());
        self.instances.iter().map(log).collect()
    }
}

impl Instance {
    fn launch(service: &'static str, log: PathBuf, mut variables: Vec<(&'static str, String)>) -> Self {
        let [listen, operations] =
            [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port.unwrap())));
        variables.push(("MP3_LISTEN", listen.to_string()));
        variables.push(("MP3_OPS_LISTEN", operations.to_string()));
        variables.push(("LOG_FORMAT", "text".to_owned()));
        Self {
            service,
            listen,
            process: spawn(service, &log, &variables),
            operations,
            log,
            variables,
        }
    }

    /// Starts the next one in the place of one that has ended; returns when it is ready.
    pub(super) async fn start_again(&mut self) {
        self.process = spawn(self.service, &self.log, &self.variables);
        self.is_ready().await;
    }

    async fn is_ready(&mut self) {
        until("the service is ready", async || {
            assert!(self.process.is_running(), "{}", self.process.log_tail());
            (readiness(self.operations).await == Some(200)).then_some(())
        })
        .await;
    }
}

fn spawn(service: &'static str, log: &Path, variables: &[(&'static str, String)]) -> ServerProcess {
    let programs = Path::new(env!("CARGO_BIN_EXE_mp3converter")).parent().unwrap();
    ServerProcess::spawn(service, programs.join(service), log, |command| {
        command.env_clear();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    })
    .unwrap()
}
