//! Doing a fault, and undoing it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use testkit::servers::Signal;
use tokio::time::{Instant, sleep};

use crate::fleet::Fleet;
use crate::load::Load;
use crate::plan::{Act, Fault, INSTANCES};
use crate::proxy::Weather;
use crate::sink::Mood;

/// How long a server stays away that was killed.
const AWAY: Duration = Duration::from_secs(2);
/// How long an upload may take that is waited for.
const NEXT_SUCCESS: Duration = Duration::from_secs(60);
/// Less than what a database takes to write its journal.
const INSTANT: Duration = Duration::from_millis(1);

/// A message nobody can read.
pub(crate) const GARBAGE: &str = "this is no message";

/// Waits until no other fault has the server in hand that this one is about.
pub(crate) async fn wait_for_server(fleet: &Fleet, fault: &Fault) {
    match fault.act {
        Act::KillMongo | Act::FreezeMongo => drop(fleet.mongodb.lock().await),
        Act::KillAccounts | Act::FreezeAccounts => drop(fleet.mariadb.lock().await),
        // That one waits for an upload itself.
        Act::KillMongoAtSuccess => {}
        Act::Kill(_) | Act::Roll(_) | Act::Freeze(_) | Act::Line(..) | Act::Mail(_) => {}
        _ => drop(fleet.rabbitmq.lock().await),
    }
}

/// Injects a fault and returns when it is over and healed: with what a service did meanwhile that it must not.
///
/// # Errors
/// It could not be injected, or not be healed; it may be tried again. A fault that could not be injected does not count.
pub(crate) async fn inject(fleet: &Fleet, load: &Load, fault: &Fault) -> anyhow::Result<Vec<String>> {
    let Fault { act, lasts, .. } = *fault;
    let mut wrong = Vec::new();
    match act {
        Act::Kill(service) => fleet.instance(service).kill().await?,
        Act::Roll(name) => {
            for service in INSTANCES.into_iter().filter(|service| service.0 == name) {
                wrong.extend(fleet.instance(service).roll().await?);
                // The next one goes when this one had time to come, as a rolling update waits for it to be ready.
                sleep(AWAY).await;
            }
        }
        Act::Freeze(service) => {
            let instance = fleet.instance(service);
            instance.freeze().await?;
            sleep(lasts).await;
            instance.thaw().await;
        }
        Act::KillBroker => {
            let mut broker = fleet.rabbitmq.lock().await;
            broker.kill();
            broker.restart().await?;
        }
        Act::FreezeAndKillBroker => {
            let mut broker = fleet.rabbitmq.lock().await;
            broker.process().signal(Signal::STOP);
            sleep(lasts).await;
            broker.kill();
            broker.restart().await?;
        }
        Act::RestartBroker => fleet.rabbitmq.lock().await.restart().await?,
        Act::WipeBroker => fleet.rabbitmq.lock().await.restart_empty().await?,
        Act::Alarm { disk } => {
            let broker = fleet.rabbitmq.lock().await;
            let (alarm, calm): (&[&str], &[&str]) = if disk {
                (&["set_disk_free_limit", "100000GB"], &["set_disk_free_limit", "50MB"])
            } else {
                (
                    &["set_vm_memory_high_watermark", "0"],
                    &["set_vm_memory_high_watermark", "0.4"],
                )
            };
            broker.control(alarm).await?;
            sleep(lasts).await;
            broker.control(calm).await?;
        }
        Act::KillMongo => {
            let mut mongodb = fleet.mongodb.lock().await;
            mongodb.kill();
            sleep(AWAY).await;
            mongodb.restart().await?;
        }
        Act::KillMongoAtSuccess => {
            let mut mongodb = fleet.mongodb.lock().await;
            let before = load.accepted().len();
            let give_up = Instant::now() + NEXT_SUCCESS;
            while load.accepted().len() == before {
                ensure!(Instant::now() < give_up, "no upload was accepted");
                sleep(INSTANT).await;
            }
            mongodb.kill();
            sleep(AWAY).await;
            mongodb.restart().await?;
        }
        Act::FreezeMongo => {
            let mongodb = fleet.mongodb.lock().await;
            mongodb.process().signal(Signal::STOP);
            sleep(lasts).await;
            mongodb.process().signal(Signal::CONT);
        }
        Act::KillAccounts => {
            let mut mariadb = fleet.mariadb.lock().await;
            mariadb.kill();
            sleep(lasts).await;
            mariadb.restart().await?;
        }
        Act::FreezeAccounts => {
            let mariadb = fleet.mariadb.lock().await;
            mariadb.process().signal(Signal::STOP);
            sleep(lasts).await;
            mariadb.process().signal(Signal::CONT);
        }
        Act::Line(service, server, weather) => {
            let line = fleet.instance(service).line(server).context("no such line")?;
            line.set(weather);
            sleep(lasts).await;
            line.set(Weather::Calm);
        }
        Act::Mail(mood) => {
            fleet.sink.set(mood);
            sleep(lasts).await;
            fleet.sink.set(Mood::Kind);
        }
        // The broker must be there for these.
        Act::CloseConnections => {
            let _there = fleet.rabbitmq.lock().await;
            fleet.rabbitmq_management.close_connections().await?;
        }
        Act::DeleteQueue(name) => {
            let _there = fleet.rabbitmq.lock().await;
            fleet.rabbitmq_management.delete_queue(name).await?;
        }
        Act::Garbage(name) => {
            let _there = fleet.rabbitmq.lock().await;
            let routed = fleet.rabbitmq_management.publish(name, GARBAGE).await?;
            ensure!(routed, "there is no queue `{name}` at the moment");
        }
    }
    Ok(wrong)
}
