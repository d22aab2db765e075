//! Somebody with `curl`, as the people who use the suite.

use std::path::Path;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// A person who is logged in at one gateway.
#[derive(Clone)]
pub struct Visitor {
    gateway: String,
    /// The token that the login gave.
    pub token: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Visitor {
    /// Logs in at `gateway` (`http://HOST:PORT`).
    ///
    /// # Errors
    ///
    /// When the answer is not 200, and as for the others when there is no answer at all.
    pub async fn login(gateway: &str, email: &str, password: &str) -> anyhow::Result<Self> {
        let credentials = format!("{email}:{password}");
        let answer = curl(&["-X", "POST", "-u", &credentials, &format!("{gateway}/login")]).await?;
        ensure!(answer.status == 200, "login: {} {}", answer.status, answer.text());
        Ok(Self {
            gateway: gateway.to_owned(),
            token: answer.text(),
        })
    }

    /// Uploads a file with `POST /upload`.
    pub async fn upload(&self, file: &Path) -> anyhow::Result<Answer> {
        let part = format!("file=@{}", file.display());
        let url = format!("{}/upload", self.gateway);
        curl(&["-H", &self.bearer(), "-F", &part, &url]).await
    }

    /// Calls `GET /download`.
    pub async fn download(&self, fid: &str) -> anyhow::Result<Answer> {
        self.get(&format!("/download?fid={fid}")).await
    }

    /// Calls any route with `GET`; `path` begins with a slash.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.gateway);
        curl(&["-H", &self.bearer(), &url]).await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }
}

impl Answer {
    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn curl(arguments: &[&str]) -> anyhow::Result<Answer> {
    let output = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--max-time", "60"])
        .args(["--write-out", "%{stderr}%{http_code}"])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run curl")?;
    let status = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "curl: {} {status}", output.status);
    Ok(Answer {
        status: status.parse().with_context(|| format!("curl said {status:?}"))?,
        body: output.stdout,
    })
}
