//! What a container says of itself in words: descriptions, chapters, and what is attached.

use std::ffi::CStr;
use std::ptr;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Stream;

/// How many entries of a description are read.
const MOST_ENTRIES: usize = 2_000;

/// Where a longer value of a description is cut off.
const MOST_VALUE_BYTES: usize = 256 * 1024;

/// A container's own description of itself: keys and values as they are in the file, of any bytes; at most
/// [`MOST_ENTRIES`] of at most [`MOST_VALUE_BYTES`].
pub(crate) fn description(demuxer: &Input) -> Vec<(Vec<u8>, Vec<u8>)> {
    // SAFETY: the dictionary belongs to the context, which `demuxer` borrows.
    unsafe { entries((*demuxer.as_ptr()).metadata) }
}

/// A stream's description, as above.
pub(crate) fn stream_description(stream: &Stream<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    // SAFETY: the dictionary belongs to the stream, which lives as long as its context, which `stream` borrows.
    unsafe { entries((*stream.as_ptr()).metadata) }
}

/// Copies a dictionary, within the bounds above.
///
/// # Safety
/// It is null, or valid and not changed meanwhile.
unsafe fn entries(dictionary: *const ff::ffi::AVDictionary) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut entry = ptr::null_mut();
    while found.len() < MOST_ENTRIES {
        // SAFETY: an empty key with this flag gives one entry after the other, beginning with the one after null. An
        // entry's strings are valid as long as the dictionary is.
        unsafe {
            entry = ff::ffi::av_dict_get(dictionary, c"".as_ptr(), entry, ff::ffi::AV_DICT_IGNORE_SUFFIX);
            let Some(strings) = entry.as_ref() else {
                break;
            };
            let copy = |string| {
                let bytes = CStr::from_ptr(string).to_bytes();
                bytes[..bytes.len().min(MOST_VALUE_BYTES)].to_vec()
            };
            found.push((copy(strings.key), copy(strings.value)));
        }
    }
    found
}

/// A chapter as libav has it.
pub(crate) struct Chapter {
    /// None where there is none.
    pub(crate) start: Option<i64>,
    /// None where the container does not tell it.
    pub(crate) end: Option<i64>,
    pub(crate) time_base: ff::Rational,
    /// At most [`MOST_TITLE_BYTES`], of any kind.
    pub(crate) title: Option<Vec<u8>>,
}

/// How many chapters are read.
const MOST_CHAPTERS: usize = 10_000;

/// Where a longer title of a chapter is cut off.
const MOST_TITLE_BYTES: usize = 4 * 1024;

/// A container's chapters, at most [`MOST_CHAPTERS`].
pub(crate) fn chapters(demuxer: &Input) -> Vec<Chapter> {
    // SAFETY: the context, which `demuxer` borrows, has as many pointers to chapters as it says; they and their
    // descriptions live as long as it does, and nobody changes them meanwhile.
    unsafe {
        let context = &*demuxer.as_ptr();
        if context.chapters.is_null() {
            return Vec::new();
        }
        let count = usize::try_from(context.nb_chapters).unwrap_or(0).min(MOST_CHAPTERS);
        let known = |timestamp| Some(timestamp).filter(|timestamp| *timestamp != ff::ffi::AV_NOPTS_VALUE);
        let chapters = std::slice::from_raw_parts(context.chapters, count).iter();
        chapters
            .map(|chapter| Chapter {
                start: known((**chapter).start),
                end: known((**chapter).end),
                time_base: (**chapter).time_base.into(),
                title: title_in(entries((**chapter).metadata)),
            })
            .collect()
    }
}

fn title_in(description: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Vec<u8>> {
    let mut entries = description.into_iter();
    let (_, mut title) = entries.find(|(key, _)| key.eq_ignore_ascii_case(b"title"))?;
    title.truncate(MOST_TITLE_BYTES);
    Some(title)
}

/// What is attached to a file as this stream, as the file holds it: a picture, or a file of another kind. None for
/// other streams, and for the pictures of chapters.
pub(crate) fn attachment<'a>(stream: &'a Stream<'_>) -> Option<&'a [u8]> {
    // SAFETY: the packet and the parameters belong to the stream, which lives as long as its context, which `stream`
    // borrows; the data of both is null or as long as they say.
    unsafe {
        let stream = &*stream.as_ptr();
        let (packet, parameters) = (&stream.attached_pic, &*stream.codecpar);
        let is_of_a_chapter = stream.disposition & ff::ffi::AV_DISPOSITION_TIMED_THUMBNAILS != 0;
        let (data, length) = match parameters.codec_type {
            ff::ffi::AVMediaType::AVMEDIA_TYPE_ATTACHMENT => (parameters.extradata, parameters.extradata_size),
            _ => (packet.data, packet.size),
        };
        let length = usize::try_from(length).ok()?;
        (!data.is_null() && !is_of_a_chapter).then(|| std::slice::from_raw_parts(data, length))
    }
}
