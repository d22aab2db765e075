//! `POST /upload`: one file in, a job out.
//!
//! Everything the headers tell is judged before the body is asked for: a client that waits for `100 Continue` never
//! sends what would be refused.

use axum::Json;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Address, IdempotencyKey, JobState};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::access;
use super::answers::Trouble;
use super::jobs::JobView;
use super::plain::Plain;
use crate::GatewayState;
use crate::intake::{self, Accepted, Name, Upload, UploadError};
use crate::metrics;
use crate::multipart::Boundary;

const JOB_ID: HeaderName = HeaderName::from_static("x-job-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const IGNORED_FIELDS: HeaderName = HeaderName::from_static("x-ignored-fields");
/// The most bytes of `X-Ignored-Fields`; what does not fit is left out.
const MAX_IGNORED_BYTES: usize = 1024;
/// What a field's name keeps in a header; the rest is percent-encoded.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'[')
    .remove(b']');

pub(super) async fn upload(State(state): State<GatewayState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let outcome = receive(&state, &parts.headers, body).await;
    state.metrics.upload_ended(match &outcome {
        Ok(accepted) if accepted.is_repetition => metrics::REPEATED,
        Ok(_) => metrics::TAKEN,
        Err(Plain::Trouble(_) | Plain::Stopping | Plain::Internal) => metrics::OUR_TROUBLE,
        Err(_) => metrics::REFUSED,
    });
    match outcome {
        Ok(accepted) => answer(&state, accepted, wants_json(&parts.headers)).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn receive(state: &GatewayState, headers: &HeaderMap, body: Body) -> Result<Accepted, Plain> {
    let owner = access::owner(state, headers).await?;
    let max_bytes = state.settings.max_upload_bytes;
    if body.size_hint().lower() > max_bytes {
        return Err(Plain::TooLarge(max_bytes));
    }
    let boundary = Boundary::of(headers).ok_or(Plain::NotOneFile)?;
    let name = name(state, &owner, headers).await?;
    let space = if let Name::Of(first) = &name {
        if first.job.state == JobState::Receiving {
            return Err(Plain::KeyInUse);
        }
        None
    } else {
        let space = state.space.reserve(body.size_hint().lower()).await;
        Some(space.map_err(|error| Trouble::logged(&error))?)
    };
    let upload = Upload {
        owner,
        name,
        boundary,
        body,
        space,
    };
    let accepted = intake::receive(state, upload).await;
    let accepted = accepted.map_err(refusal)?;
    if !accepted.is_repetition {
        state.metrics.upload_bytes.inc_by(accepted.job.size_bytes.unwrap_or(0));
    }
    Ok(accepted)
}

/// What the client calls its upload, and what had that name before.
async fn name(state: &GatewayState, owner: &Address, headers: &HeaderMap) -> Result<Name, Plain> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(Name::None);
    };
    let key: Option<IdempotencyKey> = value.to_str().ok().and_then(|text| text.parse().ok());
    let key = key.filter(|_| values.next().is_none()).ok_or(Plain::BadKey)?;
    let first = state.jobs.find_by_key(owner, &key).await;
    let first = first.map_err(|error| Trouble::logged(&error))?;
    Ok(first.map_or(Name::New(key), |first| Name::Of(Box::new(first))))
}

fn refusal(error: UploadError) -> Plain {
    let chain = domain::Chain(&error).to_string();
    tracing::debug!(error = chain, "refused an upload");
    match error {
        UploadError::NotOneFile | UploadError::Malformed(_) | UploadError::ClientGone(_) => Plain::NotOneFile,
        UploadError::Option(error) => Plain::BadOption(error.to_string()),
        UploadError::TooLarge(max_bytes) => Plain::TooLarge(max_bytes),
        UploadError::Stalled => Plain::Stalled,
        UploadError::Stopping => Plain::Stopping,
        UploadError::KeyInUse => Plain::KeyInUse,
        UploadError::KeyOfAnother => Plain::KeyOfAnother,
        UploadError::GivenUp => Plain::Trouble(Trouble::Away),
        UploadError::Store(error) => Plain::Trouble(Trouble::logged(&error)),
        UploadError::Panicked => Plain::Internal,
    }
}

async fn answer(state: &GatewayState, accepted: Accepted, as_json: bool) -> Response {
    let Accepted {
        job,
        ignored,
        is_repetition,
    } = accepted;
    let id = job.id;
    let mut response = if as_json {
        // The record's own times. It need not answer: the upload is safe whatever it says now.
        let job = state.jobs.get(id).await.ok().flatten().unwrap_or(job);
        (StatusCode::ACCEPTED, Json(JobView::from(job))).into_response()
    } else {
        "success!".into_response()
    };
    let headers = response.headers_mut();
    let location = HeaderValue::try_from(format!("/api/v1/jobs/{id}"));
    let job_id = HeaderValue::try_from(id.to_string());
    let ignored = ignored_fields(&ignored).map(HeaderValue::try_from);
    for (name, value) in [
        (header::LOCATION, Some(location)),
        (JOB_ID, Some(job_id)),
        (IGNORED_FIELDS, ignored),
        (REPLAYED, is_repetition.then(|| Ok(HeaderValue::from_static("true")))),
    ] {
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
    response
}

/// The fields' names, safe in a header; None when there are none.
fn ignored_fields(names: &[String]) -> Option<String> {
    let mut list = String::new();
    for name in names {
        let name = utf8_percent_encode(name, NAME).to_string();
        if list.len() + name.len() + 2 > MAX_IGNORED_BYTES {
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&name);
    }
    (!list.is_empty()).then_some(list)
}

/// Whether `Accept` names `application/json`; wildcards do not, since every client sends them.
fn wants_json(headers: &HeaderMap) -> bool {
    let ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut pieces = range.split(';').map(str::trim);
        let names_it = pieces
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
        let refuses_it = |parameter: &str| {
            let weight = parameter
                .split_once('=')
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            weight.is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0_f32))
        };
        names_it && !pieces.any(refuses_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        wants_json(&headers)
    }

    #[test]
    fn json_is_sent_only_to_who_names_it() {
        assert!(accept(&["application/json"]));
        assert!(accept(&["text/plain, Application/JSON;q=0.5"]));
        assert!(accept(&["text/html", "application/json; charset=utf-8"]));
        for other in [
            "*/*",
            "application/*",
            "application/problem+json",
            "application/json;q=0",
            "application/json; Q=0.0",
        ] {
            assert!(!accept(&[other]), "{other}");
        }
        assert!(!accept(&[]));
    }

    #[test]
    fn names_of_ignored_fields_cannot_forge_headers_or_grow_without_bound() {
        let names = ["title".to_owned(), "a\r\nX-Evil: 1, b".to_owned(), "ä".to_owned()];
        assert_eq!(
            ignored_fields(&names).unwrap(),
            "title, a%0D%0AX-Evil%3A%201%2C%20b, %C3%A4"
        );
        assert_eq!(ignored_fields(&[]), None);
        let many: Vec<String> = (0..10_000).map(|n| format!("field{n}")).collect();
        assert!(ignored_fields(&many).unwrap().len() <= MAX_IGNORED_BYTES);
    }
}
