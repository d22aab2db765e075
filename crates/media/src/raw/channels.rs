//! In which order the channels of a frame are, and how a resampler mixes them.

use ffmpeg_next as ff;
use ffmpeg_next::software::resampling::Context as Resampler;

/// The order of a frame's channels, with the places that the binding has no name for; empty where it has none.
pub(crate) fn layout(frame: &ff::frame::Audio) -> ff::ChannelLayout {
    // SAFETY: the frame lives as long as its wrapper, which is borrowed.
    ff::ChannelLayout::from_bits_retain(unsafe { (*frame.as_ptr()).channel_layout })
}

/// The order that so many channels usually have; empty where there is none.
pub(crate) fn usual_layout(channels: u16) -> ff::ChannelLayout {
    // SAFETY: the call computes a number from a number.
    let bits = unsafe { ff::ffi::av_get_default_channel_layout(i32::from(channels)) };
    ff::ChannelLayout::from_bits_retain(u64::try_from(bits).unwrap_or(0))
}

/// Says of a frame that its channels are in no known order, except of a sound field.
pub(crate) fn forget_layout(frame: &mut ff::frame::Audio) {
    let is_sound_field = sound_field(frame).is_some();
    // SAFETY: the frame is borrowed mutably. Its order is none that owns something: libav's decoders make only plain
    // ones.
    unsafe {
        let frame = &mut *frame.as_mut_ptr();
        frame.channel_layout = 0;
        if !is_sound_field {
            frame.ch_layout.order = ff::ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC;
            frame.ch_layout.u.mask = 0;
        }
    }
}

/// Where a frame's channels are a sound field (Ambisonics): the places of the loudspeakers whose channels follow it. None
/// where they are no sound field.
pub(crate) fn sound_field(frame: &ff::frame::Audio) -> Option<ff::ChannelLayout> {
    // SAFETY: the frame lives as long as its wrapper, which is borrowed; in this order the mask is what is set.
    let (order, mask) = unsafe { ((*frame.as_ptr()).ch_layout.order, (*frame.as_ptr()).ch_layout.u.mask) };
    let is_sound_field = order == ff::ffi::AVChannelOrder::AV_CHANNEL_ORDER_AMBISONIC;
    is_sound_field.then(|| ff::ChannelLayout::from_bits_retain(mask))
}

/// Says of a frame that its channels are a sound field, and behind it those of loudspeakers at these places.
#[cfg(test)]
pub(crate) fn make_sound_field(frame: &mut ff::frame::Audio, loudspeakers: ff::ChannelLayout) {
    // SAFETY: the frame is borrowed mutably. Its order was a plain one, which owns nothing.
    unsafe {
        let frame = &mut *frame.as_mut_ptr();
        frame.channel_layout = 0;
        frame.ch_layout.order = ff::ffi::AVChannelOrder::AV_CHANNEL_ORDER_AMBISONIC;
        frame.ch_layout.u.mask = loudspeakers.bits();
    }
}

/// Has a resampler take sound of that many channels in no known order, or of a sound field, and mix it by a matrix: for
/// each output channel in turn, how much of each input channel it gets.
///
/// # Errors
/// libswresample does not take so many, or has no memory; the resampler is then of no more use.
///
/// # Panics
/// The matrix is too short.
pub(crate) fn mix_by_matrix(
    resampler: &mut Resampler,
    channels: u16,
    sound_field: Option<ff::ChannelLayout>,
    matrix: &[f64],
) -> Result<(), ff::Error> {
    let output = resampler.output().channel_layout;
    assert!(matrix.len() >= usize::from(channels) * usize::try_from(output.channels()).unwrap_or(usize::MAX));
    let options = [(c"icl", 0), (c"ich", i64::from(channels))];
    // SAFETY: the context is valid, and borrowed mutably. It is closed before what it was made for changes, and opened
    // again after. The layouts are of orders that own nothing, and copied. Of the matrix, as many numbers are read as
    // there are pairs of an input and an output.
    let answers = unsafe {
        let mut output_layout: ff::ffi::AVChannelLayout = std::mem::zeroed();
        let mut layout = output_layout;
        ff::ffi::av_channel_layout_from_mask(&raw mut output_layout, output.bits());
        layout.nb_channels = i32::from(channels);
        if let Some(loudspeakers) = sound_field {
            layout.order = ff::ffi::AVChannelOrder::AV_CHANNEL_ORDER_AMBISONIC;
            layout.u.mask = loudspeakers.bits();
        }
        let context = resampler.as_mut_ptr();
        ff::ffi::swr_close(context);
        let [layout_of_old, count_of_old] =
            options.map(|(name, value)| ff::ffi::av_opt_set_int(context.cast(), name.as_ptr(), value, 0));
        [
            layout_of_old,
            count_of_old,
            ff::ffi::av_opt_set_chlayout(context.cast(), c"ichl".as_ptr(), &raw const layout, 0),
            ff::ffi::av_opt_set_chlayout(context.cast(), c"ochl".as_ptr(), &raw const output_layout, 0),
            ff::ffi::swr_set_matrix(context, matrix.as_ptr(), i32::from(channels)),
            ff::ffi::swr_init(context),
        ]
    };
    match answers.into_iter().find(|answer| *answer < 0) {
        Some(failed) => Err(ff::Error::from(failed)),
        None => Ok(()),
    }
}
