//! `GET /api/v1/limits`: what a client has to keep to, for anybody.

use axum::Json;
use axum::extract::State;
use domain::{BITRATES_KBPS, Gaps, MAX_IDEMPOTENCY_KEY_CHARACTERS, SAMPLE_RATES_HZ};
use runtime::http::{HEADER_TIMEOUT, MAX_HEAD_BYTES, MAX_HEADERS};
use serde::Serialize;
use serde_json::{Value, json};

use super::jobs::MAX_LIMIT;
use crate::GatewayState;
use crate::intake::MAX_VALUE_BYTES;
use crate::multipart::{MAX_PART_HEAD_BYTES, MAX_PARTS};

/// What the converter takes. It knows no settings for these, and the gateway does not depend on it: a test of the suite
/// holds them together.
#[derive(Serialize)]
struct MediaLimits {
    duration_seconds: u32,
    streams: u32,
    channels: u32,
    mp3_bytes: u64,
    conversion_seconds: u32,
}

const MEDIA: MediaLimits = MediaLimits {
    duration_seconds: 12 * 3600,
    streams: 64,
    channels: 64,
    mp3_bytes: 2 << 30,
    conversion_seconds: 4 * 3600,
};

pub(super) async fn limits(State(state): State<GatewayState>) -> Json<Value> {
    let settings = &state.settings;
    let range = |min: u32, max: u32| json!({"min": min, "max": max});
    Json(json!({
        "upload": {
            "max_bytes": settings.max_upload_bytes,
            "floor_bytes_per_second": settings.pace.upload_floor_bytes_per_second,
            "floor_window_seconds": settings.pace.upload_floor_window,
            "min_free_percent": settings.min_free_percent,
            "max_parts": MAX_PARTS,
            "max_part_head_bytes": MAX_PART_HEAD_BYTES,
            "max_option_bytes": MAX_VALUE_BYTES,
            "idempotency_key_characters": range(1, MAX_IDEMPOTENCY_KEY_CHARACTERS.into()),
        },
        "options": {
            "vbr": range(0, 9),
            "bitrate": BITRATES_KBPS,
            "quality": range(0, 9),
            "channels": range(1, 2),
            "rate": SAMPLE_RATES_HZ,
            "gaps": [Gaps::Silence, Gaps::Drop],
        },
        "media": MEDIA,
        "request": {
            "max_head_bytes": MAX_HEAD_BYTES,
            "max_headers": MAX_HEADERS,
            "head_seconds": HEADER_TIMEOUT.as_secs(),
        },
        "login": {
            "failures_per_account": settings.logins.login_failures_per_account,
            "failures_per_address": settings.logins.login_failures_per_address,
            "window_seconds": settings.logins.login_failures_window,
        },
        "jobs": {"max_limit": MAX_LIMIT},
    }))
}
