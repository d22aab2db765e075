//! The dashboard and the alert rules, held against what a running suite exports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::media;
use testkit::servers::workspace_root;
use tokio::process::Command;

use crate::suite::{HANG, Place, Suite};

/// What may stand around a metric's name and its labels in a query; the rest is words.
const FUNCTIONS: [&str; 12] = [
    "absent",
    "sum",
    "min",
    "max",
    "count",
    "by",
    "rate",
    "increase",
    "and",
    "or",
    "without",
    "histogram_quantile",
];

/// The queries of `monitoring/`: one for each rule of the alerts and each target of the dashboard.
fn queries() -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(workspace_root().join("monitoring").join(name)).unwrap();
    let alerts = read("alerts.yaml");
    let mut queries: Vec<String> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .map(str::to_owned)
        .collect();
    assert_eq!(queries.len(), alerts.matches("- alert: ").count());
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            queries.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    queries
}

/// The words of a query that are neither functions nor texts in quotes nor durations: metrics and labels.
fn words(query: &str) -> BTreeSet<String> {
    let unquoted: String = query.split('"').step_by(2).collect();
    let unranged: String = unquoted
        .split('[')
        .map(|part| part.rsplit(']').next().unwrap())
        .collect();
    unranged
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(|letter: char| letter.is_ascii_alphabetic()))
        .filter(|word| !FUNCTIONS.contains(word))
        .map(str::to_owned)
        .collect()
}

/// The values that a query asks of labels by name, as `label="value"`; patterns that stand for more than a choice of
/// names are left out.
fn values(query: &str) -> Vec<String> {
    let mut parts = query.split('"');
    let mut values = Vec::new();
    while let (Some(before), Some(text)) = (parts.next(), parts.next()) {
        let label = before
            .trim_end_matches(['=', '~', '!'])
            .rsplit(['{', ','])
            .next()
            .unwrap()
            .trim();
        if !text.contains(['.', '*', '+', '\\']) {
            values.extend(text.split('|').map(|value| format!("{label}=\"{value}\"")));
        }
    }
    values
}

/// The metrics in OpenMetrics text with the labels that each has.
fn exported(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let labels = line[end..].split('}').next().unwrap();
        let names = labels.split(['{', ',']).filter_map(|label| label.split_once('='));
        let known = metrics.entry(line[..end].to_owned()).or_default();
        known.extend(names.map(|(name, _)| name.to_owned()));
    }
    metrics
}

async fn scrape(suite: &Suite) -> String {
    let url = format!("http://{}/metrics", suite.stack.operations.unwrap());
    let curl = Command::new("curl").args(["-sf", "--noproxy", "*", &url]).output();
    String::from_utf8(curl.await.unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_that_the_gateway_tells_are_those_of_the_converter() {
    let suite = Suite::start(Place::Embedded).await;
    let url = format!("http://{}/api/v1/limits", suite.stack.gateway.unwrap());
    let curl = Command::new("curl").args(["-sf", "--noproxy", "*", &url]).output();
    let told: Value = serde_json::from_slice(&curl.await.unwrap().stdout).unwrap();
    let limits = ::media::Limits::default();
    let expected = serde_json::json!({
        "duration_seconds": limits.duration.as_secs(),
        "streams": limits.streams,
        "channels": limits.channels,
        "mp3_bytes": limits.output_bytes,
        "conversion_seconds": limits.time.as_secs(),
    });
    assert_eq!(told["media"], expected);
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_and_the_alerts_finds_its_metric_with_its_labels() {
    let suite = Suite::start(Place::Embedded).await;
    let ada = suite.visitor("ada@example.com").await;
    suite.converted(&ada, &media::sample("ogg-opus-mono")).await;
    suite.mails(1).await;

    // The mail is out a moment before its job is settled and counted.
    let counted = async {
        loop {
            let text = scrape(&suite).await;
            if text.contains("mp3_tell_attempts_total{outcome=\"told\"} 1") {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(HANG, counted).await.expect("nobody counts mails");
    let metrics = exported(&text);
    let known: BTreeSet<&String> = metrics.values().flatten().collect();
    let queries = queries();
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        let words = words(&query);
        let (named, labels): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with("mp3_"));
        assert!(!named.is_empty(), "{query} asks for nothing");
        for name in named {
            let has = metrics
                .get(name)
                .unwrap_or_else(|| panic!("{query}: nobody exports {name}:\n{text}"));
            for label in &labels {
                assert!(
                    known.contains(label) && has.contains(*label),
                    "{query}: {name} has no {label}"
                );
            }
        }
        for value in values(&query) {
            assert!(text.contains(&value), "{query}: nobody exports {value}:\n{text}");
        }
    }
    suite.stop().await;
}
