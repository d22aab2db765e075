//! Each list that libav is given is in force, and an option it does not know is refused.

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;

use super::*;

fn open(bytes: &[u8], options: &[(&str, &str)]) -> Result<ff::format::context::Input, ff::Error> {
    ff::log::set_level(ff::log::Level::Quiet);
    let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
    let source = Source::seekable(Cursor::new(bytes.to_vec()));
    open_demuxer(Reader::new(source, watch).unwrap(), None, options).and_then(|mut demuxer| {
        raw::probe_streams(&mut demuxer)?;
        Ok(demuxer)
    })
}

#[test]
fn an_option_that_libav_does_not_know_is_refused() {
    let sound = fs::read(testkit::media::sample("wav-44100")).unwrap();
    assert_eq!(open(&sound, &OPTIONS).err(), None);
    for (name, value) in OPTIONS {
        let misspelt = format!("{name}s");
        assert_eq!(
            open(&sound, &[(&misspelt, value)]).err(),
            Some(ff::Error::OptionNotFound)
        );
    }
}

#[test]
fn the_list_of_containers_is_in_force() {
    let subtitles = b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nBye\n";
    assert!(open(subtitles, &[]).is_ok(), "libav knows the format");
    assert!(open(subtitles, &OPTIONS[..1]).is_err());
}

#[test]
fn the_list_of_protocols_is_in_force() {
    let target = testkit::media::sample("wav-44100");
    let playlist = format!("ffconcat version 1.0\nfile 'file:{}'\n", target.display());
    let streams =
        |options: &[(&str, &str)]| open(playlist.as_bytes(), options).map_or(0, |demuxer| demuxer.nb_streams());
    let unsafe_names = ("safe", "0");
    // Our static FFmpeg has no protocol that the list could refuse; the system's has.
    match ff::format::input(&target) {
        Err(ff::Error::ProtocolNotFound) => {}
        opened => {
            opened.unwrap();
            assert_eq!(streams(&[unsafe_names]), 1, "libav opens what a playlist names");
        }
    }
    assert_eq!(streams(&[unsafe_names, OPTIONS[1]]), 0);
}

#[test]
fn the_list_of_decoders_is_in_force() {
    let sound = fs::read(testkit::media::sample("aac-adts")).unwrap();
    let is_decoded =
        |options: &[(&str, &str)]| raw::knows_the_samples(&open(&sound, options).unwrap().stream(0).unwrap());
    assert!(is_decoded(&[]), "libav probes with the decoder");
    assert!(is_decoded(&OPTIONS[2..]), "which is on our list");
    assert!(!is_decoded(&[(OPTIONS[2].0, "flac")]));
}

/// Decoders that the list names and our own FFmpeg lacks: this system's FFmpeg takes them from other libraries.
const OF_THE_SYSTEM: [&str; 6] = ["libgsm", "libgsm_ms", "libopus", "libspeex", "libvorbis", "libilbc"];

#[test]
fn what_libavcodec_was_built_with_is_on_the_list_of_decoders() {
    let built = raw::audio_decoders();
    let listed: Vec<_> = allowed::CODECS.split(',').collect();
    // The noise of telephone calls while nobody speaks: no file holds it.
    let is_missing = |name: &&String| *name != "comfortnoise" && !listed.contains(&name.as_str());
    let missing: Vec<_> = built.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "built and not listed: {missing:?}");
    let is_built = |name: &str| built.iter().any(|known| known == name);
    let unknown: Vec<_> = listed
        .iter()
        .filter(|name| !is_built(name) && !OF_THE_SYSTEM.contains(name))
        .collect();
    assert!(unknown.is_empty(), "listed and not built: {unknown:?}");
}

/// How long the sound of a file at this path is, in packets.
fn packets(path: &std::path::Path, options: &[(&str, &str)]) -> usize {
    ff::log::set_level(ff::log::Level::Quiet);
    let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
    let source = Source::seekable(fs::File::open(path).unwrap());
    let io = StreamIo::from_read_seek(Reader::new(source, watch).unwrap()).unwrap();
    let demuxer = raw::open(io, path.to_str().unwrap(), options.iter().collect()).unwrap();
    let sound = demuxer.streams().find(is_audio).unwrap();
    raw::index_length(&sound)
}

/// The one container that asks for other files, by names that only its own path gives away.
#[test]
fn the_next_part_of_a_recording_is_not_opened() {
    let (first, second) = testkit::media::recording_in_two_files();
    let folder = tempfile::tempdir().unwrap();
    let (alone, together) = (folder.path().join("alone.mlv"), folder.path().join("recording.mlv"));
    fs::copy(&first, &alone).unwrap();
    fs::copy(&first, &together).unwrap();
    fs::copy(second, folder.path().join("recording.m00")).unwrap();
    assert_eq!(packets(&alone, &OPTIONS), 20);
    assert_eq!(packets(&together, &OPTIONS), 20);
    // Our static FFmpeg has no protocol that could open it; the system's has.
    if ff::format::input(&first).err() != Some(ff::Error::ProtocolNotFound) {
        assert_eq!(packets(&together, &[]), 40, "libav opens it");
    }
}
