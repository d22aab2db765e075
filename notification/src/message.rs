//! What the mails say.

use std::fmt::Write as _;
use std::time::Duration;

use domain::{Fid, Job, Mp3, VerdictKind};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox};
use lettre::{Address, Message};
use url::Url;

/// The host part of every Message-ID.
const MESSAGE_ID_HOST: &str = "mp3converter";
/// How much of a file name or a verdict a mail repeats.
const MAX_TEXT_BYTES: usize = 1000;

/// What every mail begins with.
#[derive(Clone, Debug)]
pub struct Letterhead {
    /// Who it comes from.
    pub from: Mailbox,
    /// Where owners reach the gateway, for the line to paste.
    pub public_url: Url,
}

/// The owner's address cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("the owner's address is none that mail can be sent to")]
pub struct Undeliverable;

impl Letterhead {
    /// The mail that tells the owner of `job` the news of this kind.
    ///
    /// # Errors
    /// The owner's address is none.
    pub fn compose(&self, job: &Job, kind: VerdictKind) -> Result<Message, Undeliverable> {
        let recipient: Address = job.owner.as_str().parse().map_err(|_| Undeliverable)?;
        let (subject, text) = match (kind, &job.mp3) {
            (VerdictKind::Done, Some(mp3)) => ("MP3 Download", self.ready(job, mp3)),
            _ => ("MP3 conversion failed", not_ready(job, kind)),
        };
        let body = body(text).ok_or(Undeliverable)?;
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message_id = Some(message_id(job.id, kind));
        #[cfg(feature = "seeded-bugs")]
        let message_id = message_id.filter(|_| !runtime::seeded_bugs::is_on("random-message-id"));
        let mut mail = Message::builder();
        if let Some(trace) = &job.trace {
            let traceparent = HeaderName::new_from_ascii_str("Traceparent");
            mail = mail.raw_header(HeaderValue::new(traceparent, trace.as_str().to_owned()));
        }
        mail.message_id(message_id)
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient))
            .subject(subject)
            .date_now()
            .header(ContentType::TEXT_PLAIN)
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .body(body)
            .map_err(|_| Undeliverable)
    }

    fn ready(&self, job: &Job, mp3: &Mp3) -> String {
        let fid = mp3.fid;
        // The first line is the original's, to the letter: people and scripts read the id from it.
        let mut text = format!("mp3 file_id: {fid} is now ready!\r\n\r\n");
        let mut fact = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{name:<10}{value}\r\n");
        };
        fact("File:", one_line(&job.mp3_filename()));
        if let Some(milliseconds) = mp3.duration_ms {
            fact("Duration:", playing_time(Duration::from_millis(milliseconds)));
        }
        if let Some(bytes) = mp3.size_bytes {
            fact("Size:", size(bytes));
        }
        let losses: Vec<_> = mp3.notes.iter().filter(|note| note.loss).collect();
        if !losses.is_empty() {
            let sentences: Vec<_> = losses.iter().map(|note| one_line(&note.message)).collect();
            let _infallible = write!(text, "\r\n{}\r\n", sentences.join("\r\n"));
        }
        let base = self.public_url.as_str().trim_end_matches('/');
        let _infallible = write!(
            text,
            "\r\nDownload it with your token:\r\n\r\n\
             curl -H \"Authorization: Bearer $TOKEN\" -OJ \"{base}/download?fid={fid}\"\r\n"
        );
        text
    }
}

fn not_ready(job: &Job, kind: VerdictKind) -> String {
    let name = job
        .filename
        .as_deref()
        .map_or_else(|| format!("your upload {}", job.id), one_line);
    let verdict = job.reason.as_ref().map_or_else(
        || "It could not be converted.".to_owned(),
        |reason| one_line(&reason.message),
    );
    let (news, way_out) = match kind {
        VerdictKind::Dead => (
            format!("There is no MP3 of {name} yet, and it was our fault, not your file's."),
            "Nothing is lost: your upload is kept, and the operator is informed. You need not do anything: when the\r\n\
             trouble is over it is converted, and you are told again.",
        ),
        _ => (
            format!("There is no MP3 of {name}."),
            "What you can do: mend the file or take another one, and upload it again.",
        ),
    };
    format!(
        "{news}\r\n\r\n{verdict}\r\n\r\n{way_out}\r\n\r\n{:<10}{}\r\n",
        "Job:", job.id
    )
}

/// The text as it stands where a mail may carry it so: what is read as a file can then be pasted from. The library
/// would fold every line of more than 76 bytes.
///
/// Source: RFC 5322 section 2.1.1, at most 998 bytes a line.
fn body(text: String) -> Option<Body> {
    if text.is_ascii()
        && text
            .split("\r\n")
            .all(|line| line.len() <= 998 && !line.contains(['\r', '\n']))
    {
        return Some(Body::dangerous_pre_encoded(
            text.into_bytes(),
            ContentTransferEncoding::SevenBit,
        ));
    }
    Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable).ok()
}

/// `<{job}.{kind}@mp3converter>`: the same for every copy of the same news.
fn message_id(job: Fid, kind: VerdictKind) -> String {
    format!("<{job}.{}@{MESSAGE_ID_HOST}>", kind.as_str())
}

/// The text without anything that could end a line or turn the direction of writing, and not without end.
fn one_line(text: &str) -> String {
    let harmless = |character: char| match character {
        // Line and paragraph separators, and the marks that make `gpj.exe` read as `exe.jpg`.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        _ if character.is_control() => ' ',
        _ => character,
    };
    let kept = domain::filename::cut(text, MAX_TEXT_BYTES);
    let mut line: String = kept.chars().map(harmless).collect();
    if kept.len() < text.len() {
        line.push('…');
    }
    line
}

fn playing_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "one digit after the point")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use domain::{JobState, Note, Options, Reason, ReasonCode, Timestamp};

    use super::*;

    fn letterhead() -> Letterhead {
        Letterhead {
            from: "mp3converter <robot@example.com>".parse().unwrap(),
            public_url: "http://mp3converter.com".parse().unwrap(),
        }
    }

    fn job(filename: &str) -> Job {
        let at = Timestamp::from_unix_ms(0);
        Job {
            id: "64b7f3a2c9e77b0001a1b2c3".parse().unwrap(),
            owner: "Ada@Example.com".parse().unwrap(),
            state: JobState::Done,
            progress: 1.0,
            filename: Some(filename.to_owned()),
            size_bytes: Some(1),
            options: Options::default(),
            mp3: Some(Mp3 {
                fid: "64b7f3a2c9e77b0001a1b2c4".parse().unwrap(),
                size_bytes: Some(3_500_000),
                duration_ms: Some(3_725_000),
                notes: Vec::new(),
            }),
            reason: None,
            attempts: 1,
            created_at: at,
            updated_at: at,
            finished_at: Some(at),
            trace: None,
        }
    }

    fn raw(message: &Message) -> String {
        String::from_utf8(message.formatted()).unwrap()
    }

    fn subject_of(message: &Message) -> String {
        let raw = raw(message);
        let line = raw.lines().find_map(|line| line.strip_prefix("Subject: "));
        line.unwrap().to_owned()
    }

    fn text_of(message: &Message) -> String {
        let raw = raw(message);
        let (_, body) = raw.split_once("\r\n\r\n").unwrap();
        body.replace("=\r\n", "").replace("=3D", "=")
    }

    #[test]
    fn the_first_line_is_the_originals_and_the_rest_says_how_to_get_it() {
        let message = letterhead().compose(&job("talk.mp4"), VerdictKind::Done).unwrap();
        assert_eq!(
            text_of(&message),
            "mp3 file_id: 64b7f3a2c9e77b0001a1b2c4 is now ready!\r\n\r\n\
             File:     talk.mp3\r\nDuration: 1:02:05\r\nSize:     3.3 MiB\r\n\r\n\
             Download it with your token:\r\n\r\n\
             curl -H \"Authorization: Bearer $TOKEN\" -OJ \"http://mp3converter.com/download?fid=64b7f3a2c9e77b0001a1b2c4\"\r\n"
        );
        let raw = String::from_utf8(message.formatted()).unwrap();
        assert!(raw.contains("Subject: MP3 Download\r\n"), "{raw}");
        assert!(
            raw.contains("Message-ID: <64b7f3a2c9e77b0001a1b2c3.done@mp3converter>\r\n"),
            "{raw}"
        );
        assert!(raw.contains("To: Ada@Example.com\r\n"), "{raw}");
        assert!(raw.contains("Auto-Submitted: auto-generated\r\n"), "{raw}");
        assert!(
            raw.contains("/download?fid=64b7f3a2c9e77b0001a1b2c4\""),
            "the line can be pasted: {raw}"
        );
    }

    #[test]
    fn what_is_missing_in_the_mp3_is_said_and_what_else_was_done_is_not() {
        let note = |message: &str, loss| Note {
            code: "x".to_owned(),
            message: message.to_owned(),
            loss,
            details: Default::default(),
        };
        let mut job = job("talk.mp4");
        job.mp3.as_mut().unwrap().notes = vec![
            note("Two damaged pieces\r\nof the file were left out.", true),
            note("Track 2 was taken.", false),
            note("There is silence.", true),
        ];
        let text = text_of(&letterhead().compose(&job, VerdictKind::Done).unwrap());
        let said =
            "3.3 MiB\r\n\r\nTwo damaged pieces  of the file were left out.\r\nThere is silence.\r\n\r\nDownload it";
        assert!(text.contains(said) && !text.contains("Track"), "{text}");
    }

    #[test]
    fn a_failure_says_why_and_a_failure_of_ours_says_whose() {
        let reason = |code, message: &str| {
            Some(Reason {
                code,
                message: message.to_owned(),
            })
        };
        let failed = Job {
            mp3: None,
            reason: reason(ReasonCode::NoAudio, "It is silent."),
            ..job("talk.mp4")
        };
        let message = letterhead().compose(&failed, VerdictKind::Failed).unwrap();
        assert_eq!(subject_of(&message), "MP3 conversion failed");
        assert_eq!(
            text_of(&message),
            "There is no MP3 of talk.mp4.\r\n\r\n\
             It is silent.\r\n\r\n\
             What you can do: mend the file or take another one, and upload it again.\r\n\r\n\
             Job:      64b7f3a2c9e77b0001a1b2c3\r\n"
        );
        let dead = Job {
            reason: reason(ReasonCode::Dead, "The disk is full."),
            ..failed
        };
        let message = letterhead().compose(&dead, VerdictKind::Dead).unwrap();
        assert_eq!(subject_of(&message), "MP3 conversion failed");
        assert_eq!(
            text_of(&message),
            "There is no MP3 of talk.mp4 yet, and it was our fault, not your file's.\r\n\r\n\
             The disk is full.\r\n\r\n\
             Nothing is lost: your upload is kept, and the operator is informed. You need not do anything: when the\r\n\
             trouble is over it is converted, and you are told again.\r\n\r\n\
             Job:      64b7f3a2c9e77b0001a1b2c3\r\n"
        );
    }

    #[test]
    fn what_a_foreign_service_did_not_write_down_is_left_out() {
        let mut foreign = Job {
            filename: None,
            ..job("")
        };
        let mp3 = foreign.mp3.as_mut().unwrap();
        (mp3.size_bytes, mp3.duration_ms) = (None, None);
        let text = text_of(&letterhead().compose(&foreign, VerdictKind::Done).unwrap());
        assert!(
            text.starts_with(
                "mp3 file_id: 64b7f3a2c9e77b0001a1b2c4 is now ready!\r\n\r\nFile:     audio.mp3\r\n\r\nDownload"
            ),
            "{text}"
        );
    }

    #[test]
    fn the_same_news_has_the_same_message_id_and_other_news_another() {
        let id = |kind| {
            let mail = raw(&letterhead().compose(&job("talk.mp4"), kind).unwrap());
            let line = mail.lines().find(|line| line.starts_with("Message-ID: "));
            line.unwrap().to_owned()
        };
        assert_eq!(id(VerdictKind::Done), id(VerdictKind::Done));
        assert_ne!(id(VerdictKind::Failed), id(VerdictKind::Dead));
    }

    #[test]
    fn a_name_in_any_script_arrives_as_it_is() {
        let mail = raw(&letterhead().compose(&job("Grüße 東京.mp4"), VerdictKind::Done).unwrap());
        assert!(mail.is_ascii());
        assert!(
            mail.contains("Content-Transfer-Encoding: quoted-printable\r\n"),
            "{mail}"
        );
        assert!(mail.contains("Gr=C3=BC=C3=9Fe =E6=9D=B1=E4=BA=AC.mp3"), "{mail}");
    }

    #[test]
    fn a_name_without_end_is_cut_between_letters() {
        for letter in ["x", "e\u{301}", "👩‍👩‍👧"] {
            let name = letter.repeat(100_000);
            let mail = letterhead().compose(&job(&name), VerdictKind::Failed).unwrap();
            assert!(mail.formatted().len() < 8192);
            let line = one_line(&name);
            let kept = line.strip_suffix('…').unwrap();
            assert!(kept.len() > 900 && kept.len().is_multiple_of(letter.len()), "{line}");
        }
    }

    #[test]
    fn a_name_with_dots_and_no_extension_is_whole_in_the_mail() {
        let mail = letterhead()
            .compose(&job("Mr. Smith talks"), VerdictKind::Done)
            .unwrap();
        assert!(text_of(&mail).contains("File:     Mr. Smith talks.mp3\r\n"));
    }

    #[test]
    fn a_file_name_cannot_add_a_header_or_a_line() {
        for name in [
            "a\r\nBcc: eve@example.com\r\n\r\n.mp4",
            "a\n.\r\nMAIL FROM:<x>",
            "\u{85}\u{0}x",
            "a\u{2028}\u{202e}4pm.exe",
            "a\rb",
        ] {
            let message = letterhead().compose(&job(name), VerdictKind::Done).unwrap();
            assert_eq!(message.envelope().to().len(), 1);
            let raw = String::from_utf8(message.formatted()).unwrap();
            let (head, _) = raw.split_once("\r\n\r\n").unwrap();
            assert!(!head.contains("eve") && !raw.contains("\n."), "{raw}");
            let text = text_of(&message);
            assert_eq!(text.lines().count(), 9, "{text}");
            assert!(!text.contains(['\u{2028}', '\u{202e}']), "{text}");
        }
    }

    #[test]
    fn an_owner_who_has_no_mail_address_is_undeliverable() {
        for owner in [
            "admin",
            "ada@example.com, eve@example.com",
            "<ada@example.com>",
            "a b@c",
            "ada@example.com>\u{a0}<eve@example.com",
            "ada@example.com eve@example.com",
        ] {
            let job = Job {
                owner: owner.parse().unwrap(),
                ..job("talk.mp4")
            };
            assert!(letterhead().compose(&job, VerdictKind::Done).is_err(), "{owner}");
        }
    }

    #[test]
    fn the_first_account_of_the_single_process_can_be_written_to() {
        let job = Job {
            owner: "admin@localhost".parse().unwrap(),
            ..job("talk.mp4")
        };
        assert!(letterhead().compose(&job, VerdictKind::Done).is_ok());
    }
}
