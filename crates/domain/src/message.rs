//! The one message body of both queues.

use serde::{Deserialize, Serialize};

use crate::{Address, Fid, JobId, TraceParent};

/// The default name of the queue that carries uploaded videos.
pub const VIDEO_QUEUE: &str = "video";
/// The default name of the queue that carries finished MP3s.
pub const MP3_QUEUE: &str = "mp3";

/// The queue that keeps what was rejected from `queue`.
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// `{"video_fid": "<24 hex>", "mp3_fid": null | "<24 hex>", "username": "<e-mail>"}`; unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// The job, which is the video's fid.
    pub video_fid: JobId,
    /// The finished MP3: null on `video`, set on `mp3`.
    pub mp3_fid: Option<Fid>,
    /// The owner.
    pub username: Address,
    /// The trace it belongs to: beside the body, in the message's header `traceparent`.
    #[serde(skip)]
    pub trace: Option<TraceParent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_original_systems() {
        let body = r#"{"video_fid":"64b7f3a2c9e77b0001a1b2c3","mp3_fid":null,"username":"a@email.com"}"#;
        let message: JobMessage = serde_json::from_str(body).unwrap();
        assert_eq!(message.mp3_fid, None);
        assert_eq!(serde_json::to_string(&message).unwrap(), body);
    }

    #[test]
    fn unknown_fields_are_ignored_and_a_missing_mp3_is_null() {
        let body = r#"{"video_fid":"64b7f3a2c9e77b0001a1b2c3","username":"a@email.com","trace":1}"#;
        let message: JobMessage = serde_json::from_str(body).unwrap();
        assert_eq!(message.mp3_fid, None);
    }

    #[test]
    fn a_body_without_a_valid_fid_is_not_a_message() {
        assert!(serde_json::from_str::<JobMessage>(r#"{"video_fid":"x","username":"a@b"}"#).is_err());
    }
}
