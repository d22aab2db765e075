//! `jobs list|show|retry`.

use clap::Parser;
use domain::{JobState, Reason, ReasonCode, Settlement, Step};
use gateway::{JobsCommand, JobsCommandError};

use crate::gateway::{ADA, BOB, Gateway};

#[derive(Parser)]
struct Commands {
    #[command(subcommand)]
    command: JobsCommand,
}

async fn run(gateway: &Gateway, line: &str) -> Result<String, JobsCommandError> {
    let arguments = std::iter::once("jobs").chain(line.split_whitespace());
    let command = Commands::try_parse_from(arguments).unwrap().command;
    let mut output = Vec::new();
    gateway::run_jobs_command(command, gateway.jobs.clone(), &mut output).await?;
    Ok(String::from_utf8(output).unwrap())
}

#[tokio::test]
async fn jobs_of_every_owner_are_listed_and_can_be_filtered() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (gateway.login(ADA).await, gateway.login(BOB).await);
    let (first, second) = (gateway.uploaded(&ada).await, gateway.uploaded(&bob).await);
    let ids = |output: &str| -> Vec<String> {
        let lines = output.lines();
        lines
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .collect()
    };
    let all = run(&gateway, "list").await.unwrap();
    assert_eq!(ids(&all), [second.to_string(), first.to_string()]);
    assert!(
        all.contains("queued") && all.contains(ADA) && all.contains("clip.mp4"),
        "{all}"
    );
    assert_eq!(
        ids(&run(&gateway, "list --limit 1").await.unwrap()),
        [second.to_string()]
    );
    let of_ada = run(&gateway, "list --owner ada@EXAMPLE.com --state queued")
        .await
        .unwrap();
    assert_eq!(ids(&of_ada), [first.to_string()]);
    assert_eq!(run(&gateway, "list --state dead").await.unwrap(), "");
}

#[tokio::test]
async fn a_job_is_shown_with_its_reason() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let id = gateway.uploaded(&ada).await;
    gateway.call_as(&ada, "DELETE", &format!("/api/v1/jobs/{id}")).await;
    let shown = run(&gateway, &format!("show {id}")).await.unwrap();
    assert!(shown.contains("cancelled: You cancelled this job."), "{shown}");
    assert!(shown.contains(ADA) && shown.contains("clip.mp4"), "{shown}");
    let unknown = run(&gateway, "show 64b7f3a2c9e77b0001a1b2c3").await.unwrap_err();
    assert_eq!(
        (unknown.to_string().as_str(), unknown.exit_code()),
        ("there is no job 64b7f3a2c9e77b0001a1b2c3", 64)
    );
}

#[tokio::test]
async fn a_dead_job_is_replayed_and_a_queued_one_is_not() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let id = gateway.uploaded(&ada).await;
    let refused = run(&gateway, &format!("retry {id}")).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("job {id} cannot be retried: it is queued"));

    let claim = gateway.jobs.claim(Step::Convert, id).await.unwrap().unwrap();
    let reason = Reason {
        code: ReasonCode::Dead,
        message: "We could not convert it.".to_owned(),
    };
    assert!(gateway.jobs.settle(&claim, Settlement::Dead(reason)).await.unwrap());
    let output = run(&gateway, &format!("retry {id}")).await.unwrap();
    assert_eq!(output, format!("{id} is queued again\n"));
    assert_eq!(gateway.job(id).await.state, JobState::Queued);
}
