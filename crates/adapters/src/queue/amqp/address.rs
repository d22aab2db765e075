//! Reading `amqp:` and `amqps:` URLs.

use domain::BackendUrl;
use lapin::uri::AMQPUri;
use url::{Host, Url};

use crate::ConnectError;

/// Seconds between heartbeats: a broker that died without a word is noticed after two of them. Without one of its own
/// a client gets the broker's, which is a minute.
const HEARTBEAT_SECONDS: u16 = 10;
/// How long connecting, TLS included, may take.
const CONNECT_TIMEOUT_MS: u64 = 3000;
/// The largest frame of a connection, in bytes. The driver keeps 64 of them for each: with the broker's 128 KiB, 8 MiB
/// that messages of a few hundred bytes never need. A body goes in as many frames as it takes; only a message's
/// properties and headers have to fit into one. One that does not cuts the connection off, time and again until the
/// queue's limit of deliveries sends it to the dead letters.
const FRAME_MAX_BYTES: u32 = 32 * 1024;

/// The URL with our defaults. Without user and password it means `guest`, without a path the virtual host `/`.
pub(super) fn parse(url: &BackendUrl) -> Result<AMQPUri, ConnectError> {
    let invalid = |source: domain::Source| ConnectError::Invalid {
        port: "QUEUE_URL",
        source,
    };
    let mut uri: AMQPUri = url.expose().parse().map_err(|text: String| {
        // The driver's text may repeat the URL, password and all.
        drop(text);
        invalid("expected amqp://USER:PASSWORD@HOST:PORT/VHOST".into())
    })?;
    let parsed = Url::parse(url.expose()).map_err(|error| invalid(error.into()))?;
    match parsed.host() {
        None => return Err(invalid("it names no host".into())),
        // The driver takes any IPv6 address for `localhost`.
        Some(Host::Ipv6(address)) => uri.authority.host = address.to_string(),
        Some(_) => {}
    }
    // `amqp://host/` is the virtual host with the empty name to the letter, which nobody has.
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.connection_timeout.get_or_insert(CONNECT_TIMEOUT_MS);
    uri.query.frame_max.get_or_insert(FRAME_MAX_BYTES);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AMQPUri, ConnectError> {
        parse(&text.parse().unwrap())
    }

    #[test]
    fn the_originals_url_means_guest_the_root_vhost_and_our_defaults() {
        let uri = read("amqp://rabbitmq:5672").unwrap();
        assert_eq!(uri.authority.host, "rabbitmq");
        assert_eq!(uri.authority.userinfo.username, "guest");
        assert_eq!(uri.vhost, "/");
        assert_eq!(uri.query.heartbeat, Some(10));
        assert_eq!(uri.query.connection_timeout, Some(3000));
        assert_eq!(uri.query.frame_max, Some(32 * 1024));
        assert_eq!(read("amqp://rabbitmq/").unwrap().vhost, "/");
    }

    #[test]
    fn what_the_url_says_wins_over_the_defaults() {
        let uri = read("amqps://u:p@h/jobs?heartbeat=3&connection_timeout=500&frame_max=8192").unwrap();
        assert_eq!(uri.authority.port, 5671);
        assert_eq!(uri.vhost, "jobs");
        assert_eq!(uri.query.heartbeat, Some(3));
        assert_eq!(uri.query.connection_timeout, Some(500));
        assert_eq!(uri.query.frame_max, Some(8192));
    }

    #[test]
    fn an_ipv6_address_is_kept() {
        assert_eq!(read("amqp://[::1]:5672").unwrap().authority.host, "::1");
        assert_eq!(read("amqp://10.0.0.7").unwrap().authority.host, "10.0.0.7");
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for text in ["amqp:", "amqp://u:hunter2@h:port", "amqp://u:hunter2@h?heartbeat=x"] {
            let error = read(text).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(!format!("{error} {source}").contains("hunter2"), "{source}");
        }
    }
}
