//! What is wrong with a file is told apart, and what is left of one is used.

use std::fs;
use std::net::TcpListener;

use media::{ConvertError, Note, Settings, Verdict};
use testkit::media as sample_media;

use crate::support::{convert_bytes, convert_file, decode, settings_for, verdict};

#[test]
fn a_video_without_sound_has_no_audio() {
    let path = sample_media::without_audio();
    assert_eq!(verdict(convert_file(&path, &settings_for(&path))), "no_audio");
    for path in sample_media::shared_samples() {
        if path.ends_with("no-audio.mp4") {
            assert_eq!(verdict(convert_file(&path, &settings_for(&path))), "no_audio");
        }
    }
}

#[test]
fn a_video_whose_index_is_missing_is_damaged() {
    let path = sample_media::without_index();
    assert_eq!(verdict(convert_file(&path, &settings_for(&path))), "damaged");
}

#[test]
fn a_container_that_ends_after_its_header_is_damaged() {
    for name in [
        "mkv-h264-opus",
        "mp4-index-first",
        "avi-mpeg4-mp3",
        "wmv-wmv2-wmav2",
        "ogg-vorbis",
    ] {
        let whole = fs::read(sample_media::sample(name)).unwrap();
        let outcome = convert_bytes(whole[..whole.len().min(400)].to_vec(), &Settings::default());
        assert_eq!(verdict(outcome), "damaged", "{name}");
    }
}

#[test]
fn what_is_no_media_is_called_so_whatever_its_name() {
    for path in [sample_media::garbage(), sample_media::text()] {
        for name in [
            "x.mp4", "x.mp3", "x.mkv", "x.aac", "x.ts", "x", "x.mod", "x.it", "x.m15", "x.nsf", "x.sbg", "x.c2",
            "x.mlv",
        ] {
            let settings = Settings {
                file_name: Some(name.to_owned()),
                ..Settings::default()
            };
            let outcome = convert_file(&path, &settings);
            assert_eq!(verdict(outcome), "not_media", "{} as {name}", path.display());
        }
    }
}

#[test]
fn other_files_are_not_media() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0";
    let pdf = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n";
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0holiday.mp4";
    let subtitles = b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n2\n00:00:02,000 --> 00:00:04,000\nBye\n";
    for bytes in [&png[..], &pdf[..], &zip[..], &subtitles[..]] {
        assert_eq!(
            verdict(convert_bytes(bytes.repeat(50), &Settings::default())),
            "not_media"
        );
    }
}

#[test]
fn an_empty_file_is_no_media_and_is_told_to_be_empty() {
    let path = sample_media::empty();
    let Err(ConvertError::Verdict(verdict)) = convert_file(&path, &settings_for(&path)) else {
        panic!("an empty file has a verdict");
    };
    assert_eq!(verdict, Verdict::Empty);
    assert_eq!(verdict.code(), "not_media");
    assert!(verdict.to_string().contains("empty"));
}

#[test]
fn what_is_left_of_a_file_that_was_cut_short_is_converted() {
    let path = sample_media::cut_short();
    let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
    let seconds = decode(&mp3.bytes).seconds();
    assert!((1.0..3.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_damaged_stretch_costs_only_itself() {
    let mut bytes = fs::read(sample_media::sample("aac-adts")).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 2000] {
        *byte = 0x55;
    }
    let mp3 = convert_bytes(bytes, &Settings::default()).unwrap();
    let pieces = mp3.converted.errors;
    assert!(pieces > 0);
    assert_eq!(mp3.converted.notes, [Note::LeftOut { pieces }]);
    assert!(decode(&mp3.bytes).seconds() > 2.5);
}

#[test]
fn playlists_open_nothing_and_are_no_media() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port();
    let target = sample_media::sample("wav-44100");
    let target = target.display();
    let playlists = [
        format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nhttp://{address}/a.m3u8\n"),
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n"),
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n"),
        format!("#EXTM3U\n#EXTINF:3,\ntcp://{address}\n"),
        format!(
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
        ),
        format!("ffconcat version 1.0\nfile '{target}'\n"),
        format!("ffconcat version 1.0\nfile 'http://{address}/a.wav'\n"),
        format!("ffconcat version 1.0\nfile 'file:{target}'\n"),
        format!(
            "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
             profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" mediaPresentationDuration=\"PT3S\"><Period>\
             <AdaptationSet mimeType=\"audio/mp4\"><Representation id=\"1\" bandwidth=\"100000\">\
             <BaseURL>http://{address}/a.mp4</BaseURL><SegmentBase indexRange=\"0-100\"/></Representation>\
             </AdaptationSet></Period></MPD>\n"
        ),
        format!("RTSPtext\nrtsp://{address}/x\n"),
        format!("[playlist]\nFile1=http://{address}/a.mp3\nNumberOfEntries=1\n"),
        format!("<ASX version=\"3.0\"><Entry><Ref href=\"http://{address}/a.wmv\"/></Entry></ASX>\n"),
    ];
    for playlist in &playlists {
        for name in [
            "holiday.mp4",
            "holiday.m3u8",
            "holiday.sdp",
            "holiday.ffconcat",
            "holiday.mpd",
        ] {
            let settings = Settings {
                file_name: Some(name.to_owned()),
                ..Settings::default()
            };
            let outcome = convert_bytes(playlist.clone().into_bytes(), &settings);
            assert_eq!(verdict(outcome), "not_media", "{name}: {playlist}");
        }
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "somebody connected");
}
