//! `GET /download?fid=ID`: an MP3 for its owner, whole or in part.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Address, Blob, BlobOwner, BlobStream, Bucket, Fid, PortError};
use futures_util::StreamExt as _;
use url::form_urlencoded;

use super::access;
use super::answers::Trouble;
use super::conditions::{Extent, Validators};
use super::disposition::attachment;
use super::plain::Plain;
use crate::{GatewayState, UnownedFiles};

/// The bytes to send and what is said about them.
struct Download {
    name: String,
    validators: Validators,
}

pub(super) async fn download(
    State(state): State<GatewayState>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Plain> {
    let owner = access::owner(&state, &headers).await?;
    let fid = fid(query.as_deref().unwrap_or_default()).ok_or(Plain::NoFid)?;
    let fid = fid.parse().map_err(|_| Plain::NotFound)?;
    let download = find(&state, &owner, fid).await?.ok_or(Plain::NotFound)?;
    let is_get = method == Method::GET;
    let len_bytes = download.validators.len_bytes;
    match download.validators.extent(&headers, is_get) {
        Extent::NotModified => Ok(download.head(StatusCode::NOT_MODIFIED, None, Body::empty())),
        Extent::Unsatisfiable => {
            let mut response = download.head(StatusCode::RANGE_NOT_SATISFIABLE, Some(0), Body::empty());
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{len_bytes}"));
            Ok(response)
        }
        Extent::Whole => {
            let body = if is_get {
                open(&state, fid, 0..len_bytes).await?
            } else {
                Body::empty()
            };
            Ok(download.head(StatusCode::OK, Some(len_bytes), body))
        }
        Extent::Part(part) => {
            let range = format!("bytes {}-{}/{len_bytes}", part.start, part.end - 1);
            let body = open(&state, fid, part.clone()).await?;
            let mut response = download.head(StatusCode::PARTIAL_CONTENT, Some(part.end - part.start), body);
            set(&mut response, header::CONTENT_RANGE, &range);
            Ok(response)
        }
    }
}

/// The id that is asked for, if there is one.
fn fid(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, fid) = pairs.find(|(name, _)| name == "fid")?;
    (!fid.is_empty()).then(|| fid.into_owned())
}

/// The file, if `owner` may have it. What is absent and what is somebody else's look the same.
async fn find(state: &GatewayState, owner: &Address, fid: Fid) -> Result<Option<Download>, Plain> {
    let trouble = |error: PortError| Plain::from(Trouble::logged(&error));
    let Some(blob) = state.blobs.stat(Bucket::Mp3s, fid).await.map_err(trouble)? else {
        return Ok(None);
    };
    // The record is asked only when the file does not say all there is to know.
    let job = match (&blob.owner, &blob.filename) {
        (BlobOwner::Stated(_), Some(_)) => None,
        _ => state.jobs.find_by_mp3(fid).await.map_err(trouble)?,
    };
    let may_have = match (&blob.owner, &job) {
        (BlobOwner::Stated(stated), _) => stated == owner,
        (BlobOwner::Unstated, Some(job)) => job.owner == *owner,
        (BlobOwner::Unstated, None) => may_have_unowned(state, fid),
        (BlobOwner::Unreadable, _) => false,
    };
    let name = match (&blob.filename, &job) {
        (Some(name), _) => crate::filename::clean(name),
        (None, Some(job)) => job.mp3_filename(),
        (None, None) => fid.to_string(),
    };
    Ok(may_have.then(|| Download::new(&blob, &name)))
}

fn may_have_unowned(state: &GatewayState, fid: Fid) -> bool {
    if state.settings.unowned_files == UnownedFiles::Shared {
        return true;
    }
    if state.refused_for_the_first_time(fid) {
        tracing::info!(blob.id = %fid, "refused a file that names no owner; UNOWNED_FILES=shared serves such files to every account");
    }
    false
}

/// The bytes of a range, the first of them already fetched: what fails before the answer begins gets an answer, what
/// fails later breaks the connection.
async fn open(state: &GatewayState, fid: Fid, range: std::ops::Range<u64>) -> Result<Body, Plain> {
    if range.is_empty() {
        return Ok(Body::empty());
    }
    let trouble = |error: PortError| Plain::from(Trouble::logged(&error));
    let opened = state.blobs.read(Bucket::Mp3s, fid, range).await.map_err(trouble)?;
    let mut bytes: BlobStream = opened.ok_or(Plain::NotFound)?;
    let first = bytes.next().await.transpose().map_err(trouble)?;
    let sent = state.metrics.download_bytes.clone();
    let all = futures_util::stream::iter(first.map(Ok)).chain(bytes);
    Ok(Body::from_stream(all.inspect(move |piece| match piece {
        Ok(piece) => {
            sent.inc_by(piece.len() as u64);
        }
        Err(error) => {
            let error = domain::Chain(error).to_string();
            tracing::warn!(blob.id = %fid, error, "a download broke off");
        }
    })))
}

impl Download {
    fn new(blob: &Blob, name: &str) -> Self {
        let stored_ms = u64::try_from(blob.created_at.unix_ms()).unwrap_or(0);
        Self {
            name: domain::filename::mp3_name(name),
            validators: Validators {
                etag: format!("\"{}\"", blob.id),
                modified: std::time::UNIX_EPOCH + std::time::Duration::from_millis(stored_ms),
                len_bytes: blob.len_bytes,
            },
        }
    }

    /// An answer with everything that is said of the file, whichever part of it is sent.
    fn head(&self, status: StatusCode, content_length: Option<u64>, body: Body) -> Response {
        let mut response = (status, body).into_response();
        let modified = httpdate::fmt_http_date(self.validators.modified_seconds());
        set(&mut response, header::ETAG, &self.validators.etag);
        set(&mut response, header::LAST_MODIFIED, &modified);
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        set(&mut response, header::CACHE_CONTROL, "private, no-cache");
        if let Some(length) = content_length {
            set(&mut response, header::CONTENT_LENGTH, &length.to_string());
        }
        if status.is_success() {
            set(&mut response, header::CONTENT_TYPE, "audio/mpeg");
            set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
            set(&mut response, header::CONTENT_DISPOSITION, &attachment(&self.name));
        }
        response
    }
}

/// Sets a header whose value is made of visible ASCII.
fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
