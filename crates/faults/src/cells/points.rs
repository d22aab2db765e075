//! Every point, and what brings somebody there.

use crate::random::Random;

/// The ways to fail at a point.
pub(super) const ACTIONS: [&str; 4] = ["kill", "error", "lost-reply", "stall"];

/// Which adapters are behind the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    /// MongoDB and RabbitMQ, two of each service.
    Servers,
    /// SQLite and local files, in the single process.
    Embedded,
}

/// What brings somebody to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An upload of a second.
    Upload,
    /// One of ten minutes, whose conversion lasts longer than the pause in which its record is asked for.
    LongUpload,
    /// One that takes so long that its lease is renewed.
    SlowUpload,
    /// One that breaks off.
    BrokenUpload,
    /// One that is sent twice under one key.
    KeyedUpload,
    /// One after these points failed in these ways, each once.
    After(&'static [&'static str]),
    /// Its owner looks for a job and fetches its MP3.
    Reading,
    /// Its owner takes a job back.
    TakingBack,
    /// An upload while the mail server takes its time.
    SlowMail,
    /// The service starts.
    Start,
    /// The janitor's cycle.
    Janitor,
    /// The same, once there is a file that nobody needs.
    JanitorAfterLoss,
}

/// A point, and a way to fail there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) set: Set,
    pub(super) point: &'static str,
    pub(super) way: Way,
    pub(super) action: &'static str,
}

/// Leaves a stored video whose upload nobody heard of: finished, with the answer lost, and not deleted then.
pub(super) const LOSS: &[&str] = &["gateway.finish lost-reply", "gateway.delete error"];

/// Every step border: 19 of the gateway, 16 of the converter, 10 of the notification, 5 of the janitor.
const POINTS: [(&str, Way); 50] = [
    ("gateway.create", Way::Upload),
    ("gateway.find_by_key", Way::KeyedUpload),
    ("gateway.space", Way::Upload),
    ("gateway.put", Way::Upload),
    ("gateway.write", Way::Upload),
    ("gateway.renew_upload", Way::SlowUpload),
    ("gateway.finish", Way::Upload),
    ("gateway.commit_upload", Way::Upload),
    ("gateway.publish", Way::Upload),
    ("gateway.mark_announced", Way::Upload),
    ("gateway.fail_upload", Way::BrokenUpload),
    ("gateway.delete", Way::After(&["gateway.finish lost-reply"])),
    ("gateway.lapsed_uploads", Way::Upload),
    ("gateway.claim_announcement", Way::Upload),
    ("gateway.list", Way::Reading),
    ("gateway.get", Way::Reading),
    ("gateway.stat", Way::Reading),
    ("gateway.read", Way::Reading),
    ("gateway.cancel", Way::TakingBack),
    ("converter.claim_due", Way::Upload),
    ("converter.adopt", Way::Upload),
    ("converter.claim", Way::Upload),
    ("converter.renew", Way::Upload),
    ("converter.get", Way::LongUpload),
    ("converter.stat", Way::Upload),
    ("converter.delete", Way::After(&["converter.put error"])),
    ("converter.put", Way::Upload),
    ("converter.read", Way::Upload),
    ("converter.write", Way::Upload),
    ("converter.finish", Way::Upload),
    ("converter.settle", Way::Upload),
    ("converter.publish", Way::Upload),
    ("converter.mark_announced", Way::Upload),
    ("converter.claim_announcement", Way::Upload),
    ("convert.ack", Way::Upload),
    ("notification.let_mails_go", Way::Start),
    ("notification.take_charge_of_mails", Way::Start),
    ("notification.claim_due", Way::Upload),
    ("notification.adopt", Way::Upload),
    ("notification.claim", Way::Upload),
    ("notification.renew", Way::Upload),
    ("notification.get", Way::SlowMail),
    ("notification.sent", Way::Upload),
    ("notification.settle", Way::Upload),
    ("tell.ack", Way::Upload),
    ("janitor.list_ours", Way::Janitor),
    ("janitor.references", Way::JanitorAfterLoss),
    ("janitor.list_unfinished", Way::Janitor),
    ("janitor.stat", Way::JanitorAfterLoss),
    ("janitor.delete", Way::JanitorAfterLoss),
];

impl Cell {
    /// The cells to visit: so many of all, in the seed's order, or those of these names, with commas between them.
    pub(super) fn draw(seed: u64, count: usize, only: Option<&str>) -> Vec<Self> {
        let mut cells = Self::all();
        match only {
            Some(names) => cells.retain(|cell| names.split(',').any(|name| cell.to_string() == name.trim())),
            None => Random::of(seed, 0).shuffle(&mut cells),
        }
        cells.truncate(count);
        cells
    }

    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for set in [Set::Servers, Set::Embedded] {
            for (point, way) in POINTS {
                // Nobody else can have told the owners of a single process.
                if set == Set::Embedded && way == Way::Start {
                    continue;
                }
                all.extend(ACTIONS.map(|action| Self {
                    set,
                    point,
                    way,
                    action,
                }));
            }
        }
        all
    }

    /// The service whose calls these are.
    pub(super) fn service(&self) -> &'static str {
        match self.point.split_once('.') {
            Some(("gateway" | "janitor", _)) => "gateway",
            Some(("converter" | "convert", _)) => "converter",
            _ => "notification",
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = match self.set {
            Set::Servers => "",
            Set::Embedded => "embedded ",
        };
        write!(f, "{set}{} {}", self.point, self.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_holds_cells_of_both_sets_and_of_every_action() {
        let sample = Cell::draw(7, 40, None);
        assert_eq!(sample.len(), 40);
        for set in [Set::Servers, Set::Embedded] {
            for action in ACTIONS {
                assert!(sample.iter().any(|cell| cell.set == set && cell.action == action));
            }
        }
    }

    #[test]
    fn a_cell_is_found_by_its_name() {
        let named = |name| Cell::draw(1, 1000, Some(name)).len();
        assert_eq!(named("converter.settle kill"), 1);
        assert_eq!(named("embedded gateway.publish error"), 1);
        assert_eq!(named("gateway.publish kill, tell.ack stall"), 2);
        assert_eq!(named("converter.settle dance"), 0);
    }
}
