//! Handing mails over: the dialogue, and what each way to fail means.

use domain::{Fid, Job, JobState, Mp3, Options, PortError, Timestamp, VerdictKind};
use lettre::Message;
use notification::{Letterhead, Mailer, SendError, SmtpLogin};
use testkit::{HANG, until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::mail_server::{Answer, MailServer, Tls, certificate};

const NAME: &str = "64b7f3a2c9e77b0001a1b2c3.done";

pub(crate) fn letterhead() -> Letterhead {
    Letterhead {
        from: "mp3converter <robot@example.com>".parse().unwrap(),
        public_url: "http://mp3converter.com".parse().unwrap(),
    }
}

fn job(owner: &str, filename: &str) -> Job {
    let at = Timestamp::from_unix_ms(0);
    Job {
        id: "64b7f3a2c9e77b0001a1b2c3".parse().unwrap(),
        owner: owner.parse().unwrap(),
        state: JobState::Done,
        progress: 1.0,
        filename: Some(filename.to_owned()),
        size_bytes: Some(1),
        options: Options::default(),
        mp3: Some(Mp3 {
            fid: Fid::new(),
            size_bytes: Some(3_500_000),
            duration_ms: Some(61_000),
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

fn mail() -> Message {
    let job = job("ada@example.com", "talk.mp4");
    letterhead().compose(&job, VerdictKind::Done).unwrap()
}

fn login() -> SmtpLogin {
    SmtpLogin {
        user: "robot".to_owned(),
        password: "hunter2".parse().unwrap(),
    }
}

fn mailer(url: &str, login: Option<SmtpLogin>) -> Mailer {
    Mailer::connect(&url.parse().unwrap(), login).unwrap()
}

/// Nobody else took the mail over meanwhile.
async fn still_ours() -> Result<bool, PortError> {
    Ok(true)
}

/// Nobody wants the sending to end.
fn never() -> CancellationToken {
    CancellationToken::new()
}

async fn send_to(server: &MailServer) -> Result<(), SendError> {
    let url = format!("smtp://127.0.0.1:{}", server.port());
    mailer(&url, Some(login()))
        .send(NAME, &mail(), still_ours(), &never())
        .await
}

#[tokio::test]
async fn a_mail_goes_out_in_the_clear_where_nothing_else_is_asked_for() {
    let server = MailServer::start(Tls::OnRequest, []);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    mailer(&url, None)
        .send(NAME, &mail(), still_ours(), &never())
        .await
        .unwrap();
    let said = server.said();
    assert!(said[0].starts_with("EHLO "), "{said:?}");
    assert_eq!(said[1], "MAIL FROM:<robot@example.com>");
    assert_eq!(said[2], "RCPT TO:<ada@example.com>");
    assert_eq!(said[3], "DATA");
    assert!(said[4].contains("\r\n\r\nmp3 file_id: "), "{said:?}");
    assert_eq!(said[5], "QUIT");
}

#[tokio::test]
async fn starttls_comes_before_the_login() {
    let server = MailServer::start(Tls::OnRequest, []);
    let (port, ca) = (server.port(), certificate());
    let url = format!("smtp://127.0.0.1:{port}?tls=required&ca={}", ca.display());
    mailer(&url, Some(login()))
        .send(NAME, &mail(), still_ours(), &never())
        .await
        .unwrap();
    assert_eq!(server.commands()[..5], ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL"]);
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn implicit_tls_encrypts_from_the_start() {
    let server = MailServer::start(Tls::FromTheStart, []);
    let url = format!(
        "smtps://robot:p%40ss@127.0.0.1:{}?ca={}",
        server.port(),
        certificate().display()
    );
    mailer(&url, Some(login()))
        .send(NAME, &mail(), still_ours(), &never())
        .await
        .unwrap();
    assert_eq!(server.commands()[..3], ["EHLO", "AUTH", "MAIL"]);
    // base64 of \0robot\0p@ss: the URL's login, not the other.
    assert_eq!(server.said()[1], "AUTH PLAIN AHJvYm90AHBAc3M=");
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn opportunistic_tls_is_used_where_it_is_offered() {
    for (tls, expected) in [(Tls::OnRequest, "STARTTLS"), (Tls::Never, "MAIL")] {
        let server = MailServer::start(tls, []);
        let url = format!(
            "smtp://127.0.0.1:{}?tls=opportunistic&ca={}",
            server.port(),
            certificate().display()
        );
        mailer(&url, None)
            .send(NAME, &mail(), still_ours(), &never())
            .await
            .unwrap();
        assert_eq!(server.commands()[1], expected);
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_cannot_be_trusted() {
    let certificate = certificate();
    for (tls, query) in [
        // Does not offer what is required.
        (Tls::Never, format!("tls=required&ca={}", certificate.display())),
        // Shows a certificate nobody vouches for.
        (Tls::OnRequest, "tls=required".to_owned()),
    ] {
        let server = MailServer::start(tls, []);
        let mailer = mailer(&format!("smtp://127.0.0.1:{}?{query}", server.port()), Some(login()));
        let error = mailer.send(NAME, &mail(), still_ours(), &never()).await.unwrap_err();
        assert!(matches!(error, SendError::Unavailable(_)), "{error:?}");
        let said = server.commands();
        assert!(
            !said.contains(&"AUTH".to_owned()) && !said.contains(&"MAIL".to_owned()),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_told_from_one_that_may_go_later() {
    for (step, reply, expected) in [
        ("RCPT", "550 no such user", "Refused"),
        ("RCPT", "450 mailbox busy", "Unavailable"),
        ("RCPT", "530 log in first", "Unavailable"),
        ("RCPT", "550 5.7.1 relaying denied", "Unavailable"),
        ("DATA", "554 5.1.1 no valid recipients", "Refused"),
        ("DATA", "554 no service", "Unavailable"),
        ("DATA", "451 greylisted", "Unavailable"),
        ("CONTENT", "554 looks like spam", "Refused"),
        ("CONTENT", "452 disk full", "Unavailable"),
        ("CONTENT", "550 5.4.5 daily sending quota exceeded", "Unavailable"),
        // The settings are at fault, not this mail.
        ("GREETING", "554 go away", "Unavailable"),
        ("EHLO", "502 what", "Unavailable"),
        ("AUTH", "535 wrong password", "Unavailable"),
        ("MAIL", "550 not your address", "Unavailable"),
    ] {
        let server = MailServer::start(Tls::Never, [(step, Answer::Say(reply))]);
        let error = send_to(&server).await.unwrap_err();
        let name = format!("{error:?}");
        assert!(name.starts_with(expected), "{step} {reply}: {name}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_mail_leaves_it_open_whether_it_arrived() {
    for step in ["GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let server = MailServer::start(Tls::Never, [(step, Answer::HangUp)]);
        let error = send_to(&server).await.unwrap_err();
        assert_eq!(
            matches!(error, SendError::Unknown(_)),
            step == "CONTENT",
            "{step}: {error:?}"
        );
        assert!(!matches!(error, SendError::Refused(_)), "{step}: {error:?}");
    }
}

#[tokio::test]
async fn the_servers_last_word_is_waited_for_ten_minutes_and_then_the_mail_is_in_doubt() {
    let server = MailServer::start(Tls::Never, [("CONTENT", Answer::Wait)]);
    let (message, never) = (mail(), never());
    let mailer = mailer(&format!("smtp://127.0.0.1:{}", server.port()), None);
    let mut sending = Box::pin(mailer.send(NAME, &message, still_ours(), &never));
    let handed_over = until("the server has the mail", async || {
        (!server.mails().is_empty()).then_some(())
    });
    tokio::select! {
        biased;
        sent = &mut sending => panic!("{sent:?}"),
        () = handed_over => {}
    }
    // Nothing is left to happen but that time passes.
    tokio::time::pause();
    let begun = Instant::now();
    let error = sending.await.unwrap_err();
    assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
    let waited = begun.elapsed().as_secs();
    assert!((590..=600).contains(&waited), "{waited} s");
    server.go_on();
}

#[tokio::test]
async fn whoever_is_told_to_end_while_the_server_has_the_mail_does_not_know_its_fate() {
    for (step, expected) in [("CONTENT", true), ("DATA", false)] {
        let server = MailServer::start(Tls::Never, [(step, Answer::Wait)]);
        let (message, cancelled) = (mail(), never());
        let mailer = mailer(&format!("smtp://127.0.0.1:{}", server.port()), None);
        let mut sending = Box::pin(mailer.send(NAME, &message, still_ours(), &cancelled));
        let reached = until("the dialogue is there", async || {
            let there = if expected {
                !server.mails().is_empty()
            } else {
                server.commands().contains(&"DATA".to_owned())
            };
            there.then_some(())
        });
        tokio::select! {
            biased;
            sent = &mut sending => panic!("{sent:?}"),
            () = reached => {}
        }
        cancelled.cancel();
        // What nobody has yet may be left by dropping it.
        let ended = futures_util::poll!(&mut sending);
        assert_eq!(
            matches!(ended, std::task::Poll::Ready(Err(SendError::Unknown(_)))),
            expected,
            "{step}: {ended:?}"
        );
        server.go_on();
    }
}

#[tokio::test]
async fn a_mail_that_others_send_by_now_is_withheld_at_the_last_moment() {
    let away = || PortError::unavailable("test", "the connection broke");
    for (answer, expected) in [(Ok(false), "NotOurs"), (Err(away()), "Unconfirmed")] {
        let server = MailServer::start(Tls::Never, []);
        let url = format!("smtp://127.0.0.1:{}", server.port());
        let asked = async {
            // By then all is said but the mail.
            assert_eq!(server.commands().last().map(String::as_str), Some("RCPT"));
            answer
        };
        let error = mailer(&url, None)
            .send(NAME, &mail(), asked, &never())
            .await
            .unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        assert!(!server.commands().contains(&"DATA".to_owned()));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = mailer(&format!("file:{}", directory.path().display()), None);
    let error = file
        .send(NAME, &mail(), async { Ok(false) }, &never())
        .await
        .unwrap_err();
    assert!(matches!(error, SendError::NotOurs), "{error:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_take_leave_has_the_mail_all_the_same() {
    let server = MailServer::start(Tls::Never, [("QUIT", Answer::HangUp)]);
    send_to(&server).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let port = testkit::servers::free_port().unwrap();
    let mailer = mailer(&format!("smtp://127.0.0.1:{port}"), None);
    let error = mailer.send(NAME, &mail(), still_ours(), &never()).await.unwrap_err();
    assert!(matches!(error, SendError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_knows_such() {
    let job = job("jürgen@example.com", "talk.mp4");
    let message = letterhead().compose(&job, VerdictKind::Done).unwrap();
    let server = MailServer::start(Tls::Never, []);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let error = mailer(&url, None)
        .send(NAME, &message, still_ours(), &never())
        .await
        .unwrap_err();
    assert!(matches!(error, SendError::Refused(_)), "{error:?}");

    let server = MailServer::start(
        Tls::Never,
        [("EHLO", Answer::Say("250-x\r\n250-8BITMIME\r\n250 SMTPUTF8"))],
    );
    let url = format!("smtp://127.0.0.1:{}", server.port());
    mailer(&url, None)
        .send(NAME, &message, still_ours(), &never())
        .await
        .unwrap();
    let said = server.said();
    assert!(said[1].contains(" SMTPUTF8"), "{said:?}");
    assert_eq!(said[2], "RCPT TO:<jürgen@example.com>");
}

/// Whatever an owner or a file is called, a server hears of one sender, one recipient and one mail.
#[tokio::test]
async fn no_name_smuggles_in_a_recipient_or_a_second_mail() {
    let server = MailServer::start(Tls::Never, []);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let mailer = mailer(&url, None);
    let hostile = [
        "",
        "\r\nRCPT TO:<eve@example.com>",
        "\nBcc: eve@example.com",
        "\r\n.\r\nMAIL FROM:<eve@example.com>",
        "\n.\n",
        "\r.\r",
        "\u{2028}.\u{2028}",
        "%0d%0aRCPT TO:<eve@example.com>",
        ">\r\nDATA",
        "\0",
        ", eve@example.com",
        "; eve@example.com",
        " eve@example.com",
        "> SIZE=1",
        "\"<eve@example.com>\"",
        "=?utf-8?q?=0D=0ABcc:eve?=",
        "(eve)",
        ".",
        "..",
        "\u{85}Bcc: eve@example.com",
    ];
    let mut sent = 0;
    for before in hostile {
        for after in hostile {
            let owner = format!("{before}ada{after}@example.com");
            let Ok(owner) = owner.parse::<domain::Address>() else {
                continue;
            };
            let job = job(owner.as_str(), &format!("{after}{before}.mp4"));
            let Ok(message) = letterhead().compose(&job, VerdictKind::Done) else {
                continue;
            };
            mailer.send(NAME, &message, still_ours(), &never()).await.unwrap();
            sent += 1;
        }
    }
    // An ordinary owner with every hostile file name, too.
    for name in hostile {
        let message = letterhead().compose(&job("ada@example.com", name), VerdictKind::Done);
        mailer
            .send(NAME, &message.unwrap(), still_ours(), &never())
            .await
            .unwrap();
        sent += 1;
    }
    assert!(sent > 20);
    let count = |word: &str| server.commands().iter().filter(|command| *command == word).count();
    assert_eq!((count("MAIL"), count("RCPT"), count("DATA")), (sent, sent, sent));
    assert_eq!(server.mails().len(), sent);
    for mail in server.mails() {
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_ascii_lowercase().contains("\nbcc"), "{head}");
        assert_eq!(mail.matches("\r\n.\r\n").count(), 1, "{mail}");
    }
}

#[tokio::test]
async fn mailcrab_reads_what_we_send() {
    let (sender, mut received) = tokio::sync::broadcast::channel(8);
    let port = testkit::servers::free_port().unwrap();
    let stop = never();
    tokio::spawn(mailcrab::mail_server(
        [127, 0, 0, 1].into(),
        port,
        sender,
        false,
        stop.clone(),
    ));
    let mailer = mailer(&format!("smtp://127.0.0.1:{port}"), None);
    let job = job("ada@example.com", "Grüße.mp4");
    let message = letterhead().compose(&job, VerdictKind::Done).unwrap();
    // It says nowhere when it begins to listen.
    until("the mail is sent", async || {
        match mailer.send(NAME, &message, still_ours(), &never()).await {
            Ok(()) => Some(()),
            Err(error) => {
                assert!(matches!(error, SendError::Unavailable(_)), "{error:?}");
                None
            }
        }
    })
    .await;
    let mail = tokio::time::timeout(HANG, received.recv()).await.unwrap().unwrap();
    stop.cancel();
    assert_eq!(mail.envelope_from, "robot@example.com");
    assert_eq!(mail.envelope_recipients, ["ada@example.com"]);
    let text = mail.render("");
    assert!(
        text.starts_with("mp3 file_id: ") && text.contains("Grüße.mp3"),
        "{text}"
    );
    assert_eq!(mail.parse_warnings, [""; 0]);
}

#[tokio::test]
async fn a_mail_file_is_there_whole_and_once_however_often_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("mail");
    let mailer = mailer(&format!("file:{}", place.display()), None);
    let message = mail();
    for _ in 0..2 {
        mailer.send(NAME, &message, still_ours(), &never()).await.unwrap();
    }
    let files: Vec<_> = std::fs::read_dir(&place)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files, [place.join(format!("{NAME}.eml"))]);
    assert_eq!(std::fs::read(&files[0]).unwrap(), message.formatted());
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_our_trouble() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mailer = mailer(&format!("file:{}/mail", file.path().display()), None);
    let error = mailer.send(NAME, &mail(), still_ours(), &never()).await.unwrap_err();
    assert!(matches!(error, SendError::File(_)), "{error:?}");
}
