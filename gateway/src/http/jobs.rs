//! `/api/v1/jobs`: what became of an upload, for its owner.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Address, Fid, Job, JobId, JobState, Note, Options, PortError, Reason, ReasonCode, Timestamp};
use runtime::http::Problem;
use serde::Serialize;
use url::form_urlencoded;

use super::access::{self, Denied};
use super::answers::{BEARER_CHALLENGE, FULL_RETRY_SECONDS, RETRY_SECONDS, Trouble};
use crate::GatewayState;

/// How many jobs a list holds when nothing is asked for.
const DEFAULT_LIMIT: u32 = 50;
/// How many it holds at most.
pub(super) const MAX_LIMIT: u32 = 200;

/// What stands in the place of an id, if it is text at all.
type PathId<'a> = Result<&'a Path<String>, &'a PathRejection>;

/// The job as its owner sees it.
#[derive(Debug, Serialize)]
pub(super) struct JobView {
    id: JobId,
    state: JobState,
    progress: f32,
    filename: Option<String>,
    size_bytes: Option<u64>,
    options: Options,
    mp3_fid: Option<Fid>,
    notes: Vec<Note>,
    reason: Option<Reason>,
    attempts: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let (mp3_fid, notes) = job.mp3.map(|mp3| (mp3.fid, mp3.notes)).unzip();
        Self {
            id: job.id,
            state: job.state,
            progress: job.progress,
            filename: job.filename,
            size_bytes: job.size_bytes,
            options: job.options,
            mp3_fid,
            notes: notes.unwrap_or_default(),
            reason: job.reason,
            attempts: job.attempts,
            created_at: job.created_at,
            updated_at: job.updated_at,
            finished_at: job.finished_at,
        }
    }
}

/// `GET /api/v1/jobs`: the owner's jobs, newest first, as an array.
pub(super) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<JobView>>, ApiError> {
    let owner = access::owner(&state, &headers).await?;
    let page = Page::parse(query.as_deref().unwrap_or_default())?;
    let jobs = state.jobs.list(Some(&owner), None, page.limit, page.before).await?;
    Ok(Json(jobs.into_iter().map(JobView::from).collect()))
}

/// `GET /api/v1/jobs/{id}`.
pub(super) async fn show(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<JobView>, ApiError> {
    let owner = access::owner(&state, &headers).await?;
    let job = owned(&state, &owner, id.as_ref()).await?;
    Ok(Json(job.into()))
}

/// `DELETE /api/v1/jobs/{id}`: takes a job back that is not finished.
pub(super) async fn cancel(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let owner = access::owner(&state, &headers).await?;
    let job = owned(&state, &owner, id.as_ref()).await?;
    let reason = Reason {
        code: ReasonCode::Cancelled,
        message: "You cancelled this job.".to_owned(),
    };
    if state.jobs.cancel(job.id, reason).await? {
        tracing::info!(job.id = %job.id, "cancelled a job for its owner");
        return Ok(StatusCode::NO_CONTENT);
    }
    let job = owned(&state, &owner, id.as_ref()).await?;
    Err(ApiError::NotCancellable(job.state))
}

/// The job, if it is the owner's. An id that is malformed, unknown or somebody else's looks the same.
async fn owned(state: &GatewayState, owner: &Address, id: PathId<'_>) -> Result<Job, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotFound)?;
    let id = id.parse().map_err(|_| ApiError::NotFound)?;
    let job = state.jobs.get(id).await?.filter(|job| job.owner == *owner);
    job.ok_or(ApiError::NotFound)
}

/// Which part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    limit: u32,
    before: Option<JobId>,
}

impl Page {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut page = Self {
            limit: DEFAULT_LIMIT,
            before: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    page.limit = limit.ok_or(ApiError::BadLimit)?;
                }
                "before" => page.before = Some(value.parse().map_err(|_| ApiError::BadBefore)?),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// What these routes answer when they do not do what was asked.
#[derive(Debug)]
pub(super) enum ApiError {
    Denied(Denied),
    NotFound,
    NotCancellable(JobState),
    BadLimit,
    BadBefore,
    Store(PortError),
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<PortError> for ApiError {
    fn from(error: PortError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Denied(Denied::NoToken) => unauthorized(
                "missing_credentials",
                "send the header `Authorization: Bearer TOKEN` with a token from /login",
            ),
            Self::Denied(Denied::BadToken) => unauthorized(
                "invalid_token",
                "the token is wrong or has ended; get a new one from /login",
            ),
            Self::Denied(Denied::NotAdmin) => {
                let detail = "this account may not use the converter";
                Problem::new(StatusCode::FORBIDDEN, "not_authorized", detail).into_response()
            }
            Self::NotFound => {
                let detail = "there is no such job, or it is not yours";
                Problem::new(StatusCode::NOT_FOUND, "job_not_found", detail).into_response()
            }
            Self::NotCancellable(state) => {
                let detail = format!("only a job that is queued or converting can be cancelled; this one is {state}");
                Problem::new(StatusCode::CONFLICT, "not_cancellable", detail).into_response()
            }
            Self::BadLimit => {
                let detail = format!("`limit` is a number from 1 to {MAX_LIMIT}");
                Problem::new(StatusCode::BAD_REQUEST, "bad_limit", detail).into_response()
            }
            Self::BadBefore => {
                let detail = "`before` is the id of a job: 24 hexadecimal digits";
                Problem::new(StatusCode::BAD_REQUEST, "bad_before", detail).into_response()
            }
            Self::Denied(Denied::Unknown(error)) | Self::Store(error) => trouble(Trouble::logged(&error)),
        }
    }
}

fn unauthorized(code: &'static str, detail: &'static str) -> Response {
    let challenge = HeaderValue::from_static(BEARER_CHALLENGE);
    let problem = Problem::new(StatusCode::UNAUTHORIZED, code, detail);
    ([(header::WWW_AUTHENTICATE, challenge)], problem).into_response()
}

pub(super) fn trouble(trouble: Trouble) -> Response {
    let (status, code, detail, retry) = match trouble {
        Trouble::Away => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the service is not available now, please try again later",
            Some(RETRY_SECONDS),
        ),
        Trouble::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "no_space",
            "there is no space left, please try again later",
            Some(FULL_RETRY_SECONDS),
        ),
        Trouble::Damaged => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "internal server error",
            None,
        ),
    };
    let mut response = Problem::new(status, code, detail).into_response();
    if let Some(seconds) = retry {
        let seconds = HeaderValue::from_static(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use domain::Mp3;

    use super::*;

    fn job() -> Job {
        Job {
            id: "64b7f3a2c9e77b0001a1b2c3".parse().unwrap(),
            owner: "a@email.com".parse().unwrap(),
            state: JobState::Done,
            progress: 1.0,
            filename: Some("clip.mp4".to_owned()),
            size_bytes: Some(1_048_576),
            options: Options {
                bitrate: Some(192),
                ..Options::default()
            },
            mp3: Some(Mp3 {
                fid: "64b7f3a2c9e77b0001a1b2c4".parse().unwrap(),
                size_bytes: Some(1000),
                duration_ms: Some(60_000),
                notes: vec![Note {
                    code: "gaps".to_owned(),
                    message: "There is silence.".to_owned(),
                    loss: true,
                    details: [("count".to_owned(), 1.into())].into_iter().collect(),
                }],
            }),
            reason: None,
            attempts: 1,
            created_at: Timestamp::from_unix_ms(1_700_000_000_123),
            updated_at: Timestamp::from_unix_ms(1_700_000_060_000),
            finished_at: Some(Timestamp::from_unix_ms(1_700_000_060_000)),
            trace: None,
        }
    }

    #[test]
    fn a_finished_job_looks_as_documented() {
        let golden = concat!(
            r#"{"id":"64b7f3a2c9e77b0001a1b2c3","state":"done","progress":1.0,"filename":"clip.mp4","#,
            r#""size_bytes":1048576,"options":{"bitrate":192},"mp3_fid":"64b7f3a2c9e77b0001a1b2c4","#,
            r#""notes":[{"code":"gaps","message":"There is silence.","loss":true,"count":1}],"reason":null,"#,
            r#""attempts":1,"created_at":"2023-11-14T22:13:20.123Z","updated_at":"2023-11-14T22:14:20Z","#,
            r#""finished_at":"2023-11-14T22:14:20Z"}"#,
        );
        assert_eq!(serde_json::to_string(&JobView::from(job())).unwrap(), golden);
    }

    #[test]
    fn a_job_without_an_mp3_says_why() {
        let failed = Job {
            state: JobState::Failed,
            progress: 0.25,
            filename: None,
            size_bytes: None,
            options: Options::default(),
            mp3: None,
            reason: Some(Reason {
                code: ReasonCode::NoAudio,
                message: "The file has no audio.".to_owned(),
            }),
            ..job()
        };
        let golden = concat!(
            r#"{"id":"64b7f3a2c9e77b0001a1b2c3","state":"failed","progress":0.25,"filename":null,"size_bytes":null,"#,
            r#""options":{},"mp3_fid":null,"notes":[],"reason":{"code":"no_audio","message":"The file has no audio."},"#,
            r#""attempts":1,"created_at":"2023-11-14T22:13:20.123Z","updated_at":"2023-11-14T22:14:20Z","#,
            r#""finished_at":"2023-11-14T22:14:20Z"}"#,
        );
        assert_eq!(serde_json::to_string(&JobView::from(failed)).unwrap(), golden);
    }

    #[test]
    fn a_page_has_bounds() {
        let page = |query| Page::parse(query).ok();
        let before: JobId = "64b7f3a2c9e77b0001a1b2c3".parse().unwrap();
        assert_eq!(
            page(""),
            Some(Page {
                limit: 50,
                before: None
            })
        );
        assert_eq!(
            page("limit=200&before=64b7f3a2c9e77b0001a1b2c3&other=1"),
            Some(Page {
                limit: 200,
                before: Some(before)
            })
        );
        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=",
            "limit=x",
            "before=",
            "before=x",
        ] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }
}
