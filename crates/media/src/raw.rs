//! What the safe wrappers of libav and LAME leave out. With the child's own system calls the only room with `unsafe`.
#![expect(
    unsafe_code,
    reason = "ffmpeg-next opens no source without probing it, reads no index and cannot discard a stream; mp3lame-encoder \
              has no 56 kbit/s"
)]

mod channels;
mod description;

use std::ffi::CString;
use std::ptr;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::format::stream::{Stream, StreamMut};
use mp3lame_encoder::{BuildError, Builder, ffi as lame};

#[cfg(test)]
pub(crate) use channels::make_sound_field;
pub(crate) use channels::{forget_layout, layout, mix_by_matrix, sound_field, usual_layout};
pub(crate) use description::{attachment, chapters, description, stream_description};

/// Opens a source under a file name, and reads no more of it than the container's own header.
///
/// # Errors
/// No container that the options allow begins like this, or it cannot be read; or libav does not know an option, which it
/// passes over without a word.
pub(crate) fn open(mut io: StreamIo, name: &str, options: ff::Dictionary<'_>) -> Result<Input, ff::Error> {
    let name = CString::new(name).map_err(|_| ff::Error::InvalidData)?;
    // SAFETY: `avformat_open_input` takes the context over: it frees it on failure, and on success the wrapper does.
    // With the custom-I/O flag it leaves `pb` alone, which `io` owns and the wrapper keeps as long as the context. The
    // dictionary is handed over and taken back as the call leaves it.
    unsafe {
        let mut context = ff::ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ff::Error::from(ff::ffi::AVERROR(ff::ffi::ENOMEM)));
        }
        (*context).pb = io.as_mut_ptr();
        (*context).flags |= ff::ffi::AVFMT_FLAG_CUSTOM_IO;
        let mut options = options.disown();
        let answer = ff::ffi::avformat_open_input(&raw mut context, name.as_ptr(), ptr::null_mut(), &raw mut options);
        let unknown = ff::Dictionary::own(options);
        if answer != 0 {
            return Err(ff::Error::from(answer));
        }
        let input = Input::wrap_with_custom_io(context, io);
        match unknown.iter().next() {
            None => Ok(input),
            Some(_) => Err(ff::Error::OptionNotFound),
        }
    }
}

/// Reads packets until libav knows what it wants to know of every stream. It gives them again later.
///
/// # Errors
/// libav has no memory, or the source cannot be read at all.
pub(crate) fn probe_streams(demuxer: &mut Input) -> Result<(), ff::Error> {
    // SAFETY: the context is valid, and borrowed mutably; the second argument may be null.
    let answer = unsafe { ff::ffi::avformat_find_stream_info(demuxer.as_mut_ptr(), ptr::null_mut()) };
    if answer < 0 {
        return Err(ff::Error::from(answer));
    }
    Ok(())
}

/// Goes to the last place at or before a timestamp of this stream where it can be decoded from.
///
/// # Errors
/// The container cannot.
pub(crate) fn seek(demuxer: &mut Input, stream_index: usize, timestamp: i64) -> Result<(), ff::Error> {
    let stream_index = i32::try_from(stream_index).map_err(|_| ff::Error::InvalidData)?;
    // SAFETY: the context is valid, and borrowed mutably; libav checks the number of the stream.
    let answer = unsafe {
        ff::ffi::av_seek_frame(
            demuxer.as_mut_ptr(),
            stream_index,
            timestamp,
            ff::ffi::AVSEEK_FLAG_BACKWARD,
        )
    };
    if answer < 0 {
        return Err(ff::Error::from(answer));
    }
    Ok(())
}

/// Whether the container has this packet only for the decoder's sake, and its sound is to be dropped.
pub(crate) fn is_discarded(packet: &ff::Packet) -> bool {
    use ff::packet::Ref;
    // SAFETY: the packet lives as long as its wrapper, which is borrowed.
    let flags = unsafe { (*packet.as_ptr()).flags };
    flags & ff::ffi::AV_PKT_FLAG_DISCARD != 0
}

/// Whether a packet is protected, by what its container says of it.
pub(crate) fn is_encrypted(packet: &ff::Packet) -> bool {
    let mut side_data = packet.side_data();
    side_data.any(|data| data.kind() == ff::packet::side_data::Type::EncryptionInfo)
}

/// How many places the container's index has for this stream.
pub(crate) fn index_length(stream: &Stream<'_>) -> usize {
    // SAFETY: the stream lives as long as its context, which `stream` borrows; the call only reads.
    let count = unsafe { ff::ffi::avformat_index_get_entries_count(stream.as_ptr()) };
    usize::try_from(count).unwrap_or(0)
}

/// Position and length in bytes of a place in the index. None where there is no such place, or it is none in a file.
pub(crate) fn index_place(stream: &Stream<'_>, number: usize) -> Option<(u64, u32)> {
    let number = i32::try_from(number).ok()?;
    // SAFETY: as above. The entry is null or valid until libav is called again with this context, which `stream`
    // borrows.
    let (position, size) = unsafe {
        let entry = ff::ffi::avformat_index_get_entry(stream.as_ptr().cast_mut(), number).as_ref()?;
        (entry.pos, entry.size())
    };
    Some((u64::try_from(position).ok()?, u32::try_from(size).ok()?))
}

/// The timestamp of a place in the index, in the stream's time base. None where there is no such place, or it has none.
pub(crate) fn index_timestamp(stream: &Stream<'_>, number: usize) -> Option<i64> {
    let number = i32::try_from(number).ok()?;
    // SAFETY: as above.
    let timestamp = unsafe {
        let entry = ff::ffi::avformat_index_get_entry(stream.as_ptr().cast_mut(), number).as_ref()?;
        entry.timestamp
    };
    Some(timestamp).filter(|timestamp| *timestamp != ff::ffi::AV_NOPTS_VALUE)
}

/// The streams of each programme, by their numbers. None where the container has no programmes.
pub(crate) fn programmes(demuxer: &Input) -> Vec<Vec<usize>> {
    // SAFETY: the context is the demuxer's own, which is borrowed. It has as many programmes as it says, none of them
    // null, and each has as many numbers of streams as it says.
    unsafe {
        let context = &*demuxer.as_ptr();
        let programmes = (0..context.nb_programs as usize).map(|number| &**context.programs.add(number));
        let streams = programmes.map(|programme| {
            let numbers = (0..programme.nb_stream_indexes as usize).map(|at| *programme.stream_index.add(at) as usize);
            numbers.collect()
        });
        streams.collect()
    }
}

/// Whether libav made up the file's length, from its size and the bitrate.
pub(crate) fn is_length_guessed(demuxer: &Input) -> bool {
    // SAFETY: the context is the demuxer's own, which is borrowed.
    let method = unsafe { (*demuxer.as_ptr()).duration_estimation_method };
    method == ff::ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE
}

/// Makes the demuxer skip the stream's data, where the container allows without reading it.
pub(crate) fn discard(stream: &mut StreamMut<'_>) {
    // SAFETY: the pointer is the stream's own, valid as long as its context, which `stream` borrows mutably.
    unsafe {
        (*stream.as_mut_ptr()).discard = ff::ffi::AVDiscard::AVDISCARD_ALL;
    }
}

/// How many channels the container or the probe found in an audio stream; 0 where neither knows.
pub(crate) fn channels(stream: &Stream<'_>) -> u32 {
    // SAFETY: the stream and its codec parameters live as long as their context, which `stream` borrows.
    let count = unsafe { (*(*stream.as_ptr()).codecpar).ch_layout.nb_channels };
    u32::try_from(count).unwrap_or(0)
}

/// Whether the form of a stream's samples is known, which takes a decoder.
#[cfg(test)]
pub(crate) fn knows_the_samples(stream: &ff::format::stream::Stream<'_>) -> bool {
    // SAFETY: a stream has its parameters for as long as it lives.
    unsafe { (*(*stream.as_ptr()).codecpar).format >= 0 }
}

/// The sample rate in Hz that the container or the probe found in an audio stream; 0 where neither knows.
pub(crate) fn sample_rate_hz(stream: &Stream<'_>) -> u32 {
    // SAFETY: the stream and its codec parameters live as long as their context, which `stream` borrows.
    let rate = unsafe { (*(*stream.as_ptr()).codecpar).sample_rate };
    u32::try_from(rate).unwrap_or(0)
}

/// What a container's header tells of the widths of plain samples.
pub(crate) struct Widths {
    /// Bytes of one sample of every channel.
    pub(crate) block_bytes: u64,
    pub(crate) bits_per_second: u64,
    /// The container's own number for the form of the samples.
    pub(crate) tag: u32,
}

/// The widths that a container's header tells; 0 for what it does not.
pub(crate) fn widths(stream: &Stream<'_>) -> Widths {
    // SAFETY: the stream and its codec parameters live as long as their context, which `stream` borrows.
    let parameters = unsafe { &*(*stream.as_ptr()).codecpar };
    Widths {
        block_bytes: u64::try_from(parameters.block_align).unwrap_or(0),
        bits_per_second: u64::try_from(parameters.bit_rate).unwrap_or(0),
        tag: parameters.codec_tag,
    }
}

/// Has the samples of a stream taken for others, of that many bytes each, and corrects the length that libav computed
/// from narrower ones: it would go beyond the file.
pub(crate) fn set_sample_width(stream: &mut StreamMut<'_>, id: ff::codec::Id, bytes: u64, file_bytes: Option<u64>) {
    // SAFETY: the stream and its codec parameters live as long as their context, which `stream` borrows mutably. libav
    // looks at them again before it uses them.
    unsafe {
        let stream = &mut *stream.as_mut_ptr();
        let parameters = &mut *stream.codecpar;
        let bits = i64::try_from(bytes * 8).unwrap_or(i64::MAX);
        let taken_bits = i64::from(parameters.bits_per_coded_sample);
        let block_bytes = i64::from(parameters.block_align);
        let file_bytes = file_bytes.and_then(|bytes| i64::try_from(bytes).ok());
        if file_bytes.is_some_and(|file_bytes| stream.duration.saturating_mul(block_bytes) > file_bytes) {
            stream.duration = stream.duration.saturating_mul(taken_bits) / bits;
        }
        parameters.codec_id = id.into();
        parameters.bits_per_coded_sample = i32::try_from(bits).unwrap_or(i32::MAX);
    }
}

/// Where the next byte comes from that libav reads. None where it does not know.
pub(crate) fn position(demuxer: &Input) -> Option<u64> {
    // SAFETY: the context and its I/O are valid, and the demuxer is not in use; a seek by nothing only tells the
    // position.
    let position = unsafe { ff::ffi::avio_seek((*demuxer.as_ptr()).pb, 0, libc::SEEK_CUR) };
    u64::try_from(position).ok()
}

/// Whether a stream is to be mixed into another one, and nothing by itself.
pub(crate) fn is_dependent(stream: &Stream<'_>) -> bool {
    // SAFETY: the stream lives as long as its context, which `stream` borrows.
    let disposition = unsafe { (*stream.as_ptr()).disposition };
    disposition & ff::ffi::AV_DISPOSITION_DEPENDENT != 0
}

/// What the container has for the decoder of a stream, besides its packets.
pub(crate) fn extradata<'a>(stream: &'a Stream<'_>) -> &'a [u8] {
    // SAFETY: the codec parameters live as long as the context, which `stream` borrows; the data is null or as long as
    // they say.
    unsafe {
        let parameters = &*(*stream.as_ptr()).codecpar;
        let length = usize::try_from(parameters.extradata_size).unwrap_or(0);
        match parameters.extradata.is_null() {
            true => &[],
            false => std::slice::from_raw_parts(parameters.extradata, length),
        }
    }
}

/// Goes on reading at a byte of the source, where its container can be followed from anywhere.
///
/// # Errors
/// It cannot.
pub(crate) fn seek_to_byte(demuxer: &mut Input, byte: u64) -> Result<(), ff::Error> {
    let byte = i64::try_from(byte).map_err(|_| ff::Error::InvalidData)?;
    // SAFETY: the context is valid, and borrowed mutably; with this flag the number of the stream is not used.
    let answer = unsafe { ff::ffi::av_seek_frame(demuxer.as_mut_ptr(), -1, byte, ff::ffi::AVSEEK_FLAG_BYTE) };
    if answer < 0 {
        return Err(ff::Error::from(answer));
    }
    Ok(())
}

/// Whether streams may appear that the header did not tell of.
pub(crate) fn has_streams_to_come(demuxer: &Input) -> bool {
    // SAFETY: the context is the demuxer's own, which is borrowed.
    let flags = unsafe { (*demuxer.as_ptr()).ctx_flags };
    flags & ff::ffi::AVFMTCTX_NOHEADER != 0
}

/// Whether the probe met packets of this stream.
pub(crate) fn had_packets(stream: &Stream<'_>) -> bool {
    // SAFETY: the stream lives as long as its context, which `stream` borrows.
    let flags = unsafe { (*stream.as_ptr()).event_flags };
    flags & ff::ffi::AVSTREAM_EVENT_FLAG_NEW_PACKETS != 0
}

/// The names of the audio decoders that libavcodec was built with.
#[cfg(test)]
pub(crate) fn audio_decoders() -> Vec<String> {
    let mut names = Vec::new();
    let mut next = ptr::null_mut();
    // SAFETY: the iterator begins as null; what it gives is null or a constant of the library, as its name is.
    unsafe {
        while let Some(codec) = ff::ffi::av_codec_iterate(&raw mut next).as_ref() {
            let is_decoder = ff::ffi::av_codec_is_decoder(codec) != 0;
            if is_decoder && codec.type_ == ff::ffi::AVMediaType::AVMEDIA_TYPE_AUDIO {
                names.push(std::ffi::CStr::from_ptr(codec.name).to_string_lossy().into_owned());
            }
        }
    }
    names
}

/// Sets LAME's constant bitrate in kbit/s.
///
/// # Errors
/// LAME has no such bitrate.
pub(crate) fn set_bitrate(builder: &mut Builder, kbps: u16) -> Result<(), BuildError> {
    // SAFETY: the pointer is the builder's own, and the call only stores a number behind it.
    let answer = unsafe { lame::lame_set_brate(builder.as_ptr(), i32::from(kbps)) };
    if answer < 0 {
        return Err(BuildError::BadBRate);
    }
    Ok(())
}
