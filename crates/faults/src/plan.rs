//! Which faults, where and how long: drawn from a seed, so that a run can be repeated.

use std::fmt;
use std::time::Duration;

use crate::proxy::Weather;
use crate::random::Random;
use crate::sink::Mood;

/// The instances of each service.
pub(crate) const INSTANCES: [Service; 8] = [
    Service("gateway", 0),
    Service("gateway", 1),
    Service("auth", 0),
    Service("auth", 1),
    Service("converter", 0),
    Service("converter", 1),
    Service("notification", 0),
    Service("notification", 1),
];

/// What this machine does not inject. Listed with every result, and not counted.
pub(crate) const NOT_INJECTED: [&str; 5] = [
    "F8 stepDown and failover of three nodes: the replica set has one",
    "F10 packet loss below TCP (iptables, netem): partitions are the proxy's black holes",
    "F12 full disks: need a mount of their own",
    "F14 clock steps: libfaketime is not part of the setup",
    "power loss (writes the disk never had) and bit rot: need a file system of their own",
];

/// One instance of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service(pub(crate) &'static str, pub(crate) usize);

/// Whose other end a line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Mongo,
    Broker,
    Mail,
    Accounts,
    Auth,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    /// SIGKILL.
    Kill(Service),
    /// SIGTERM of every instance of a service, one after the other.
    Roll(&'static str),
    /// SIGSTOP, later SIGCONT.
    Freeze(Service),
    KillBroker,
    /// It hangs, and is killed before it goes on.
    FreezeAndKillBroker,
    RestartBroker,
    /// The broker takes no messages: memory, or disk.
    Alarm {
        disk: bool,
    },
    KillMongo,
    /// In the moment in which a user hears success.
    KillMongoAtSuccess,
    FreezeMongo,
    KillAccounts,
    FreezeAccounts,
    Line(Service, Server, Weather),
    Mail(Mood),
    WipeBroker,
    CloseConnections,
    DeleteQueue(&'static str),
    /// A message nobody can read.
    Garbage(&'static str),
}

/// A fault and how long it lasts, where that is not up to the restart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// As in the table of kinds, `F1` to `F17`.
    pub(crate) kind: &'static str,
    pub(crate) act: Act,
    pub(crate) lasts: Duration,
}

/// The kinds this machine injects, and what each does. F15 and F16 are in the load.
pub(crate) const KINDS: [&str; 13] = [
    "F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F13", "F17",
];

/// Kinds that are drawn only where they are asked for: the part of one that a run is to be about.
pub(crate) const SPECIAL_KINDS: [&str; 4] = ["F4-frozen", "F7-at-success", "F17-wiped", "F17-garbage"];

/// So many faults: every kind in turn, or `only` one, in an order and with details of the seed's.
pub(crate) fn draw(seed: u64, count: usize, only: Option<&str>) -> Vec<Fault> {
    let mut random = Random::of(seed, u64::MAX);
    if let Some(kind) = KINDS.into_iter().chain(SPECIAL_KINDS).find(|kind| Some(*kind) == only) {
        return (0..count).map(|_| fault(kind, &mut random)).collect();
    }
    let mut kinds: Vec<&str> = KINDS
        .into_iter()
        .cycle()
        .take(count.next_multiple_of(KINDS.len()))
        .collect();
    // Whole rounds are shuffled one by one, so that a short run has as many kinds as it has faults.
    for round in kinds.chunks_mut(KINDS.len()) {
        random.shuffle(round);
    }
    kinds.truncate(count);
    let mut faults: Vec<Fault> = kinds.into_iter().map(|kind| fault(kind, &mut random)).collect();
    // A mail that was not taken is tried again after a minute: later ones would only make the run longer.
    let (mail, other): (Vec<Fault>, Vec<Fault>) = faults.drain(..).partition(|fault| fault.kind == "F13");
    let early = other.len() * 2 / 3;
    faults = other;
    for fault in mail {
        let place = usize::try_from(random.between(0, early as u64 + 1)).unwrap_or(0);
        faults.insert(place, fault);
    }
    faults
}

fn fault(kind: &'static str, random: &mut Random) -> Fault {
    let seconds =
        |random: &mut Random, low: u64, high: u64| Duration::from_millis(random.between(low * 1000, high * 1000));
    let (act, lasts) = match kind {
        "F1" => (Act::Kill(random.pick(&INSTANCES)), Duration::ZERO),
        "F2" => {
            let service = random.pick(&["gateway", "auth", "converter", "notification"]);
            (Act::Roll(service), Duration::ZERO)
        }
        "F3" => (Act::Freeze(random.pick(&INSTANCES)), seconds(random, 1, 40)),
        "F4-frozen" => (Act::FreezeAndKillBroker, Duration::from_secs(4)),
        "F7-at-success" => (Act::KillMongoAtSuccess, Duration::ZERO),
        "F17-wiped" => (Act::WipeBroker, Duration::ZERO),
        "F17-garbage" => {
            let queue = random.pick(&["video", "mp3"]);
            (Act::Garbage(queue), Duration::ZERO)
        }
        "F4" => (Act::KillBroker, Duration::ZERO),
        "F5" => (Act::RestartBroker, Duration::ZERO),
        "F6" => {
            let disk = random.percent(50);
            (Act::Alarm { disk }, seconds(random, 3, 15))
        }
        "F7" => (Act::KillMongo, Duration::ZERO),
        "F8" => (Act::FreezeMongo, seconds(random, 2, 15)),
        "F9" => {
            let act = random.pick(&[Act::KillAccounts, Act::FreezeAccounts]);
            (act, seconds(random, 2, 15))
        }
        "F10" => {
            let (service, server) = line(random);
            let (requests, replies) = random.pick(&[(true, true), (true, false), (false, true)]);
            let weather = Weather::BlackHole { requests, replies };
            (Act::Line(service, server, weather), seconds(random, 5, 45))
        }
        "F11" => {
            let (service, server) = line(random);
            let weather = match random.between(0, 5) {
                0 => Weather::Reset,
                1 => Weather::HalfClose,
                2 => Weather::Delay(Duration::from_millis(random.between(50, 2001))),
                3 => Weather::Throttle {
                    bytes_per_second: 16 * 1024,
                },
                _ => Weather::CutReply {
                    after_bytes: random.between(1, 4000),
                },
            };
            (Act::Line(service, server, weather), seconds(random, 3, 20))
        }
        "F13" => {
            let slow = Mood::Slow(seconds(random, 1, 5));
            let moods = [Mood::Busy, Mood::Closed, Mood::Refusing, slow, Mood::CutBeforeAnswer];
            (Act::Mail(random.pick(&moods)), seconds(random, 2, 8))
        }
        _ => {
            let acts = [
                Act::WipeBroker,
                Act::CloseConnections,
                Act::DeleteQueue("video"),
                Act::DeleteQueue("mp3"),
                Act::Garbage("video"),
                Act::Garbage("mp3"),
            ];
            (random.pick(&acts), Duration::ZERO)
        }
    };
    Fault { kind, act, lasts }
}

/// A line between an instance and a server it uses.
fn line(random: &mut Random) -> (Service, Server) {
    let service = random.pick(&INSTANCES);
    (service, random.pick(servers_of(service.0)))
}

/// The servers a service talks to.
pub(crate) fn servers_of(service: &str) -> &'static [Server] {
    match service {
        "gateway" => &[Server::Mongo, Server::Broker, Server::Auth],
        "converter" => &[Server::Mongo, Server::Broker],
        "notification" => &[Server::Mongo, Server::Broker, Server::Mail],
        _ => &[Server::Accounts],
    }
}

/// The single process, all services in one.
pub(crate) const SINGLE: &str = "mp3converter";

impl Fault {
    /// Whether MongoDB, or the whole single process, was away.
    pub(crate) fn stops_everything(&self) -> bool {
        match self.act {
            Act::KillMongo | Act::KillMongoAtSuccess | Act::FreezeMongo => true,
            Act::Kill(Service(name, _)) => name == SINGLE,
            _ => false,
        }
    }

    /// Whether this instance was away, or away from what it cannot work without. Not from the broker: the job store
    /// schedules.
    pub(crate) fn stops(&self, instance: Service) -> bool {
        match self.act {
            Act::Kill(service) | Act::Freeze(service) => service == instance,
            Act::Line(service, server, _) => service == instance && server != Server::Broker,
            _ => false,
        }
    }

    /// Whether the mail server, or somebody's line to it, was in a mood.
    pub(crate) fn is_of_mail_server(&self) -> bool {
        matches!(self.act, Act::Mail(_) | Act::Line(_, Server::Mail, _))
    }

    /// Whether a sender of mails may not have been able to write down that one went.
    pub(crate) fn crashes_telling(&self) -> bool {
        let is_teller = |name| ["notification", SINGLE].contains(&name);
        match self.act {
            Act::Kill(Service(name, _)) | Act::Freeze(Service(name, _)) | Act::Roll(name) => is_teller(name),
            Act::Line(Service(name, _), Server::Mongo, _) => is_teller(name),
            _ => self.stops_everything(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.act)?;
        if self.lasts > Duration::ZERO {
            write!(f, " for {:.1} s", self.lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_faults() {
        let texts = |seed| draw(seed, 60, None).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(5), texts(5));
        assert_ne!(texts(5), texts(6));
    }

    #[test]
    fn a_kind_that_is_asked_for_is_the_only_one() {
        for kind in KINDS.into_iter().chain(SPECIAL_KINDS) {
            let faults = draw(1, 5, Some(kind));
            assert!(
                faults.len() == 5 && faults.iter().all(|fault| fault.kind == kind),
                "{kind}"
            );
        }
    }

    #[test]
    fn three_hundred_faults_hold_every_kind_ten_times() {
        let faults = draw(1, 300, None);
        assert_eq!(faults.len(), 300);
        for kind in KINDS {
            assert!(faults.iter().filter(|fault| fault.kind == kind).count() >= 10, "{kind}");
        }
    }
}
