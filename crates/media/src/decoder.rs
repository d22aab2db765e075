//! The decoder of an audio stream, and what is said where there is none.

use ffmpeg_next as ff;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::stream::Stream;

use crate::{ConvertError, Verdict, allowed, protection, raw};

/// Kinds of sound that libav has no name for, by the names that containers have for them.
///
/// Source: the MP4 Registration Authority's list of codecs, and Apple's `kAudioFormatAPAC`.
const UNNAMED: [(&[u8; 4], &str); 7] = [
    (b"apac", "Apple Positional Audio (APAC)"),
    (b"ac-4", "AC-4"),
    (b"mha1", "MPEG-H 3D Audio"),
    (b"mha2", "MPEG-H 3D Audio"),
    (b"mhm1", "MPEG-H 3D Audio"),
    (b"mhm2", "MPEG-H 3D Audio"),
    (b"iamf", "IAMF"),
];

/// What is said of a kind that has no name.
const UNKNOWN: &str = "an unknown kind";

/// Kinds of AAC that are none of the usual ones, by their object types.
///
/// Source: ISO/IEC 14496-3 table 1.17.
const AAC_KINDS: [(u8, &str); 5] = [
    (3, "AAC SSR"),
    (6, "scalable AAC"),
    (20, "scalable AAC"),
    (39, "AAC-ELD"),
    (42, "xHE-AAC"),
];

/// Opens the decoder of a stream.
///
/// # Errors
/// Sound of a kind that is not decoded, or protected; settings of the decoder that make no sense; no memory.
pub(crate) fn open(stream: &Stream<'_>) -> Result<ff::decoder::Audio, ConvertError> {
    if protection::is_protected(stream) {
        return Err(Verdict::Protected.into());
    }
    let parameters = stream.parameters();
    let unsupported = || Verdict::UnsupportedAudio { kind: kind_of(stream) };
    let codec = ff::decoder::find(parameters.id()).ok_or_else(unsupported)?;
    if !allowed::CODECS.split(',').any(|name| name == codec.name()) {
        return Err(unsupported().into());
    }
    let context = ff::codec::Context::from_parameters(parameters)
        .map_err(|error| ConvertError::internal("preparing the decoder", error))?;
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    let opened = decoder.open_as(codec).and_then(|opened| opened.audio());
    opened.map_err(|error| {
        tracing::debug!(%error, codec = codec.name(), "the decoder does not open");
        match error {
            _ if is_unsupported(error) => unsupported().into(),
            _ => enough_memory(error).err().unwrap_or_else(|| Verdict::Damaged.into()),
        }
    })
}

/// Whether a decoder says that it knows what this is, and cannot do it.
pub(crate) fn is_unsupported(error: ff::Error) -> bool {
    let is_missing = matches!(error, ff::Error::Other { errno } if errno == ff::error::ENOSYS);
    is_missing || error == ff::Error::PatchWelcome
}

/// Fails where libav wanted memory: what it then leaves out is neither damaged nor the end.
pub(crate) fn enough_memory(error: ff::Error) -> Result<(), ConvertError> {
    let want_of_memory = ff::Error::Other {
        errno: ff::error::ENOMEM,
    };
    if error == want_of_memory {
        Err(ConvertError::internal("reading and decoding", error))
    } else {
        Ok(())
    }
}

/// What kind of sound a stream is, for people.
pub(crate) fn kind_of(stream: &Stream<'_>) -> String {
    let id = stream.parameters().id();
    let tag = raw::widths(stream).tag.to_le_bytes();
    let unnamed = UNNAMED.iter().find(|(name, _)| **name == tag).map(|(_, kind)| *kind);
    let aac_kind = || aac_kind(raw::extradata(stream)).filter(|_| id == Id::AAC);
    if let Some(kind) = unnamed.or_else(aac_kind) {
        return kind.to_owned();
    }
    match String::from_utf8(tag.to_vec()) {
        _ if id != Id::None => id.name().to_owned(),
        Ok(name) if is_plain(&name) => name,
        _ => UNKNOWN.to_owned(),
    }
}

/// Whether a text is what the above may give: a child that is no longer ours must not write to the file's owner.
pub(crate) fn is_kind(text: &str) -> bool {
    let mut known = UNNAMED
        .iter()
        .map(|(_, kind)| *kind)
        .chain(AAC_KINDS.iter().map(|(_, kind)| *kind))
        .chain([UNKNOWN]);
    known.any(|kind| kind == text) || is_plain(text)
}

/// Whether it is one short word, as the names of codecs are.
fn is_plain(name: &str) -> bool {
    let is_mark = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(is_mark)
}

/// The kind of AAC by the beginning of its configuration, where it is an unusual one.
///
/// Source: `GetAudioObjectType` in ISO/IEC 14496-3 section 1.6.2.1.
fn aac_kind(configuration: &[u8]) -> Option<&'static str> {
    let [first, second] = *configuration.first_chunk()?;
    let object_type = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | second >> 5),
        short => short,
    };
    let (_, kind) = AAC_KINDS.iter().find(|(known, _)| *known == object_type)?;
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_aac_is_read_from_its_configuration() {
        // Low complexity, 48 kHz, stereo; then USAC; then ELD.
        assert_eq!(aac_kind(&[0x11, 0x90]), None);
        assert_eq!(aac_kind(&[0xf9, 0x46, 0x40]), Some("xHE-AAC"));
        assert_eq!(aac_kind(&[0xf8, 0xe6, 0x20]), Some("AAC-ELD"));
        assert_eq!(aac_kind(&[0x18, 0x10]), Some("AAC SSR"));
        assert_eq!(aac_kind(&[0xf9]), None);
    }
}
