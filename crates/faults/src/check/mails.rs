//! I5: each verdict was mailed to its owner, once, or once more for a reason.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{Findings, owes_mail, text};
use crate::load::{Load, address};
use crate::report::Window;
use crate::sink::Mail;

pub(super) fn check(load: &Load, jobs: &[Value], faults: &[Window], findings: &mut Findings) {
    let mails = load.home.sink().mails();
    findings.mails = mails.len();
    let mut of_jobs: BTreeSet<usize> = BTreeSet::new();
    for job in jobs {
        let mine = mails.iter().enumerate().filter(|(_, mail)| is_about(mail, job));
        let mut mine: Vec<(usize, &Mail)> = mine.collect();
        of_jobs.extend(mine.iter().map(|(place, _)| place));
        mine.sort_by_key(|(_, mail)| mail.at);
        let mine: Vec<&Mail> = mine.into_iter().map(|(_, mail)| mail).collect();
        findings.copies += mine.len().saturating_sub(1);
        let telling = Telling {
            job,
            owner: address(usize::try_from(job["owner"].as_u64().unwrap_or(0)).unwrap_or(0)),
            verdict: load.moment(text(job, "finished_at")),
            mails: &mine,
        };
        for what in telling.broken(faults) {
            findings.breach("I5", &[text(job, "id"), text(job, "filename")], what);
        }
    }
    for (_, mail) in mails.iter().enumerate().filter(|(place, _)| !of_jobs.contains(place)) {
        let what = format!("{} is a mail about no job, to {:?}", mail.message_id, mail.recipients);
        findings.breach("I5", &[&mail.message_id], what);
    }
}

/// What an MP3's mail begins with.
fn first_line(job: &Value) -> String {
    format!(
        "mp3 file_id: {} is now ready!",
        job["mp3_fid"].as_str().unwrap_or("none")
    )
}

fn is_about(mail: &Mail, job: &Value) -> bool {
    let id = text(job, "id");
    mail.text.contains(&first_line(job))
        || mail.text.contains(&format!("Job:      {id}"))
        || mail.message_id.contains(id)
}

/// A job, and what its owner was told of it, in order.
struct Telling<'a> {
    job: &'a Value,
    owner: String,
    /// When its owner could first have been told.
    verdict: Option<Duration>,
    mails: &'a [&'a Mail],
}

impl Telling<'_> {
    /// Everything that is wrong.
    fn broken(&self, faults: &[Window]) -> Vec<String> {
        let (id, state) = (text(self.job, "id"), text(self.job, "state"));
        let mut broken = Vec::new();
        if owes_mail(self.job) && self.mails.is_empty() {
            broken.push(format!("the owner of job {id} was never told"));
        }
        if !owes_mail(self.job) && !self.mails.is_empty() {
            broken.push(format!("the owner of job {id}, {state}, was told"));
        }
        let usual = format!("<{id}.{state}@");
        let names: BTreeSet<&str> = self.mails.iter().map(|mail| &*mail.message_id).collect();
        if names.len() > 1 || names.iter().any(|name| !name.starts_with(&usual)) {
            broken.push(format!(
                "job {id} was mailed about under {names:?}, so copies are not told apart"
            ));
        }
        for mail in self.mails {
            let is_to_owner = mail.text.lines().any(|line| line == format!("To: {}", self.owner));
            if mail.recipients != [self.owner.as_str()] || !is_to_owner {
                let whom = &mail.recipients;
                broken.push(format!("a mail about job {id} of {} went to {whom:?}", self.owner));
            }
            if state == "done" && !mail.text.contains(&first_line(self.job)) {
                broken.push(format!("a mail about job {id} names another MP3 than its own"));
            }
        }
        for pair in self.mails.windows(2) {
            if !pair[0].taken {
                broken.push(format!("the owner of job {id} was told again after a refusal"));
            }
        }
        let copies = self.mails.len().saturating_sub(1);
        let explained = self.copies_explained(faults);
        if copies > explained {
            broken.push(format!(
                "the owner of job {id} was told {copies} times more than once, and faults explain {explained}"
            ));
        }
        broken
    }

    /// How many copies the faults explain that fell between the verdict and the last mail: one for each crash of
    /// whoever could not write down that a mail went, and a single one for all the mail server's moods, for of a mail
    /// whose fate is unknown there is one more copy and no third.
    fn copies_explained(&self, faults: &[Window]) -> usize {
        let (Some(first), Some(last)) = (self.mails.first(), self.mails.last()) else {
            return 0;
        };
        let from = self.verdict.unwrap_or(first.at);
        let fell = |window: &&Window| window.began <= last.at && window.ended >= from;
        let fallen: Vec<&Window> = faults.iter().filter(fell).collect();
        let crashes = fallen.iter().filter(|window| window.fault.crashes_telling());
        let is_in_doubt = fallen.iter().any(|window| window.fault.is_of_mail_server());
        crashes.count() + usize::from(is_in_doubt)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Act, Service};
    use crate::sink::Mood;

    fn mail(at: u64, to: &str) -> Mail {
        Mail {
            at: Duration::from_secs(at),
            message_id: "<7.done@test>".to_owned(),
            recipients: vec![to.to_owned()],
            text: "To: owner1@example.com\n\nmp3 file_id: 9 is now ready!\nJob:      7\n".to_owned(),
            taken: true,
        }
    }

    /// What is wrong with these mails about a job whose verdict was at second 100.
    fn broken(mails: &[Mail], faults: &[Window]) -> Vec<String> {
        let job = json!({ "id": "7", "state": "done", "mp3_fid": "9" });
        let telling = Telling {
            job: &job,
            owner: address(1),
            verdict: Some(Duration::from_secs(100)),
            mails: &mails.iter().collect::<Vec<_>>(),
        };
        telling.broken(faults)
    }

    const OWNER: &str = "owner1@example.com";

    #[test]
    fn one_mail_to_the_owner_is_as_it_should_be() {
        assert_eq!(broken(&[mail(101, OWNER)], &[]), [""; 0]);
        assert_eq!(broken(&[], &[]).len(), 1);
        assert_eq!(broken(&[mail(101, "owner2@example.com")], &[]).len(), 1);
    }

    #[test]
    fn a_second_mail_needs_a_fault_between_the_verdict_and_itself() {
        let two = [mail(101, OWNER), mail(131, OWNER)];
        let killed = |began, ended| [Window::of(Act::Kill(Service("notification", 1)), began, ended)];
        assert_eq!(broken(&two, &[]).len(), 1);
        assert_eq!(broken(&two, &killed(102, 102)), [""; 0]);
        assert_eq!(broken(&two, &killed(90, 99)).len(), 1);
        assert_eq!(broken(&two, &killed(132, 150)).len(), 1);
        let broker = [Window::of(Act::KillBroker, 90, 150)];
        assert_eq!(broken(&two, &broker).len(), 1);
    }

    #[test]
    fn a_third_mail_is_one_too_many_however_long_the_fault_lasts() {
        let three = [mail(101, OWNER), mail(131, OWNER), mail(161, OWNER)];
        let cut = Window::of(Act::Mail(Mood::CutBeforeAnswer), 90, 200);
        let busy = Window::of(Act::Mail(Mood::Busy), 90, 200);
        assert_eq!(broken(&three[..2], std::slice::from_ref(&cut)), [""; 0]);
        assert_eq!(broken(&three, &[cut, busy]).len(), 1);
        assert_eq!(broken(&three, &[Window::of(Act::KillMongo, 90, 200)]).len(), 1);
    }
}
