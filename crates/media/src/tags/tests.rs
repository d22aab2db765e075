use id3::frame::{Content, Picture};

use super::*;

fn tags(entries: &[(&str, &[u8])]) -> Tags {
    let mut tags = Tags::default();
    tags.add(&description(entries));
    tags
}

fn description(entries: &[(&str, &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let owned = |(key, value): &(&str, &[u8])| (key.as_bytes().to_vec(), value.to_vec());
    entries.iter().map(owned).collect()
}

fn read_back(tags: Tags) -> Tag {
    Tag::read_from2(std::io::Cursor::new(tags.into_bytes().unwrap())).unwrap()
}

/// Each frame of a tag: its name, and what it says.
fn frames(tags: Tags) -> Vec<(String, String)> {
    let shown = |frame: &Frame| match frame.content() {
        Content::Text(text) => (frame.id().to_owned(), text.clone()),
        Content::ExtendedText(field) => (format!("TXXX:{}", field.description), field.value.clone()),
        Content::Comment(comment) => (format!("COMM:{}", comment.lang), comment.text.clone()),
        Content::Lyrics(lyrics) => (format!("USLT:{}", lyrics.lang), lyrics.text.clone()),
        other => panic!("{other:?}"),
    };
    let mut frames: Vec<_> = read_back(tags).frames().map(shown).collect();
    frames.sort();
    frames
}

#[track_caller]
fn check(entries: &[(&str, &str)], expected: &[(&str, &str)]) {
    let entries: Vec<_> = entries.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(frame, text)| ((*frame).to_owned(), (*text).to_owned()))
        .collect();
    assert_eq!(frames(tags(&entries)), expected);
}

#[test]
fn text_of_any_kind_is_read_back() {
    let title = "Ströme 流れ 🎵 \u{10ffff}";
    let tag = read_back(tags(&[
        ("TITLE", title.as_bytes()),
        ("artist", b"Plain"),
        ("album", b"Latin \xe9\xe8"),
        ("date", b"2024-05-01T10:00:00Z"),
        ("track", b"3/12"),
        ("comment", "über".as_bytes()),
    ]));
    assert_eq!(tag.title(), Some(title));
    assert_eq!(tag.artist(), Some("Plain"));
    assert_eq!(tag.album(), Some("Latin éè"));
    assert_eq!(
        (tag.track(), tag.total_tracks(), tag.year()),
        (Some(3), Some(12), Some(2024))
    );
    assert_eq!(tag.get("TDAT").and_then(|frame| frame.content().text()), Some("0105"));
    assert_eq!(tag.comments().next().unwrap().text, "über");
}

#[test]
fn what_has_a_frame_gets_it_and_everything_else_is_a_free_field() {
    check(
        &[
            ("album_artist", "Various"),
            ("composer", "Composer"),
            ("genre", "Jazz"),
            ("disc", "1/2"),
            ("copyright", "2012 Label"),
            ("lyrics", "line one\nline two"),
            ("comment", "line one\r\nline two\r\n\r\nline four"),
            ("REPLAYGAIN_TRACK_GAIN", "-7.03 dB"),
            ("publisher", "Label"),
            ("isrc", "QMTH31200012"),
            ("bpm", "120"),
            ("compilation", "1"),
            ("performer", "Somebody"),
            ("encoded_by", "Me"),
            ("title-sort", "Song, A"),
            ("TKEY", "Cm"),
            ("TMOO", "sad"),
            ("MusicBrainz Album Id", "42"),
            ("Über", "ä\nö"),
        ],
        &[
            ("COMM:XXX", "line one\nline two\n\nline four"),
            ("TBPM", "120"),
            ("TCMP", "1"),
            ("TCOM", "Composer"),
            ("TCON", "Jazz"),
            ("TCOP", "2012 Label"),
            ("TENC", "Me"),
            ("TKEY", "Cm"),
            ("TPE2", "Various"),
            ("TPE3", "Somebody"),
            ("TPOS", "1/2"),
            ("TPUB", "Label"),
            ("TSOT", "Song, A"),
            ("TSRC", "QMTH31200012"),
            ("TXXX:MusicBrainz Album Id", "42"),
            ("TXXX:REPLAYGAIN_TRACK_GAIN", "-7.03 dB"),
            ("TXXX:TMOO", "sad"),
            ("TXXX:bpm", "120"),
            ("TXXX:isrc", "QMTH31200012"),
            ("TXXX:Über", "ä\nö"),
            ("USLT:XXX", "line one\nline two"),
        ],
    );
}

#[test]
fn the_names_of_other_containers_mean_the_same() {
    // Vorbis comments.
    check(
        &[
            ("TRACKNUMBER", "3"),
            ("TRACKTOTAL", "12"),
            ("DISCNUMBER", "1"),
            ("TOTALDISCS", "2"),
            ("UNSYNCEDLYRICS", "la la"),
            ("LABEL", "Label"),
        ],
        &[
            ("TPOS", "1/2"),
            ("TPUB", "Label"),
            ("TRCK", "3/12"),
            ("USLT:XXX", "la la"),
        ],
    );
    // APE.
    check(
        &[
            ("Album Artist", "Various"),
            ("Year", "2012"),
            ("Track", "3/12"),
            ("Disc", "1"),
        ],
        &[("TPE2", "Various"), ("TPOS", "1"), ("TRCK", "3/12"), ("TYER", "2012")],
    );
    // ASF.
    check(
        &[
            ("WM/Year", "2012"),
            ("WM/BeatsPerMinute", "120"),
            ("WM/Lyrics", "la la"),
            ("WM/IsCompilation", "1"),
            ("WM/Mood", "sad"),
        ],
        &[
            ("TBPM", "120"),
            ("TCMP", "1"),
            ("TXXX:WM/Mood", "sad"),
            ("TXXX:bpm", "120"),
            ("TYER", "2012"),
            ("USLT:XXX", "la la"),
        ],
    );
    // QuickTime, and 3GPP with a language.
    check(
        &[
            ("com.apple.quicktime.title", "Trip"),
            ("com.apple.quicktime.make", "Make"),
            ("artist-eng", "Somebody"),
        ],
        &[
            ("TIT2", "Trip"),
            ("TPE1", "Somebody"),
            ("TXXX:com.apple.quicktime.make", "Make"),
        ],
    );
    // Matroska, and ID3 with lyrics of its own language.
    check(
        &[
            ("TRACK/TITLE", "Song"),
            ("DATE_RELEASED", "2012-10-09"),
            ("lyrics-Verse-ger", "la la"),
        ],
        &[
            ("TDAT", "0910"),
            ("TIT2", "Song"),
            ("TYER", "2012"),
            ("USLT:deu", "la la"),
        ],
    );
    // Music of game consoles.
    check(
        &[
            ("song", "Level 1"),
            ("game", "Game"),
            ("author", "Somebody"),
            ("system", "Console"),
        ],
        &[
            ("TALB", "Game"),
            ("TIT2", "Level 1"),
            ("TPE1", "Somebody"),
            ("TXXX:system", "Console"),
        ],
    );
}

#[test]
fn the_same_under_two_names_stands_there_once_and_something_else_is_kept() {
    check(
        &[
            ("title-deu", "Lied"),
            ("title-eng", "Song"),
            ("title", "Song"),
            ("TIT2", "Song"),
        ],
        &[("TIT2", "Song"), ("TXXX:title-deu", "Lied")],
    );
    check(
        &[
            ("year", "2012"),
            ("date", "2012-10-09"),
            ("TBPM", "120"),
            ("bpm", "120"),
        ],
        &[
            ("TBPM", "120"),
            ("TDAT", "0910"),
            ("TXXX:bpm", "120"),
            ("TXXX:year", "2012"),
            ("TYER", "2012"),
        ],
    );
}

#[test]
fn what_tells_of_the_file_and_not_of_the_sound_is_left_out() {
    check(
        &[
            ("encoder", "Lavf59"),
            ("ENCODER", "x"),
            ("major_brand", "isom"),
            ("minor_version", "512"),
            ("compatible_brands", "isomiso2"),
            ("creation_time", "2024-05-01T10:00:00.000000Z"),
            ("iTunSMPB", " 00000000 00000840 000001CA 00000000003F31F6"),
            ("TLEN", "12345"),
            ("product_version_num", "59.27.100.0.0"),
            ("toolkit_version_num", "59.27.100.0.0"),
            ("WMFSDKVersion", "11"),
            ("WM/EncodingTime", "1"),
            ("title", "Song"),
        ],
        &[("TIT2", "Song")],
    );
}

#[test]
fn a_number_or_a_date_that_is_none_is_a_free_field() {
    check(
        &[
            ("track", "A1"),
            ("disc", "0/0"),
            ("date", "in May"),
            ("year", "long ago"),
        ],
        &[
            ("TPOS", "0"),
            ("TXXX:date", "in May"),
            ("TXXX:track", "A1"),
            ("TXXX:year", "long ago"),
        ],
    );
    check(&[("track", "1; drop table")], &[("TXXX:track", "1; drop table")]);
}

#[test]
fn what_programs_keep_for_themselves_stays_theirs() {
    let tag = read_back(tags(&[(
        "id3v2_priv.com.example.player",
        br"\x00\xffplain \x5cx41 \xzz \x",
    )]));
    let Content::Private(private) = tag.get("PRIV").unwrap().content() else {
        panic!("{tag:?}")
    };
    assert_eq!(private.owner_identifier, "com.example.player");
    assert_eq!(private.private_data, b"\0\xffplain \\x41 zz ");
}

#[test]
fn hostile_text_is_cleaned_and_bounded() {
    let long = "é".repeat(1_000_000);
    let tags = tags(&[
        ("title", long.as_bytes()),
        ("artist", b"\0\x01\x1b[31mred\x07\n"),
        ("album", b"\xff\xfe\x00\x80"),
        ("comment", long.as_bytes()),
        ("lyrics", long.as_bytes()),
        (&long, b"x"),
    ]);
    let frames = frames(tags);
    let text = |id: &str| {
        let (_, text) = frames.iter().find(|(frame, _)| frame == id).unwrap();
        text.as_str()
    };
    assert_eq!(text("TIT2").chars().count(), LINE_CHARACTERS);
    assert_eq!(text("TPE1"), "[31mred");
    assert_eq!(text("TALB"), "ÿþ");
    assert_eq!(text("COMM:XXX").chars().count(), LINES_CHARACTERS);
    assert_eq!(text("USLT:XXX").chars().count(), LINES_CHARACTERS);
    assert_eq!(text(&format!("TXXX:{}", "é".repeat(NAME_CHARACTERS))), "x");
}

#[test]
fn fields_without_end_are_bounded_and_counted() {
    let keys: Vec<String> = (0..2_000).map(|number| format!("field {number:04}")).collect();
    let small: Vec<(&str, &[u8])> = keys.iter().map(|key| (&**key, &b"x"[..])).collect();
    let tags_of_small = tags(&small);
    assert_eq!(tags_of_small.left_out(), 1_500);
    assert_eq!(frames(tags_of_small).len(), MOST_FREE_FIELDS);
    let value = "x".repeat(LINES_CHARACTERS);
    let large: Vec<(&str, &[u8])> = keys.iter().map(|key| (&**key, value.as_bytes())).collect();
    let tags = tags(&large);
    assert_eq!(tags.left_out(), 1_980);
    assert!(tags.into_bytes().unwrap().len() < 2 * TEXT_BYTES);
}

#[test]
fn the_cover_is_in_the_tag_to_the_byte() {
    let jpeg = [&[0xff, 0xd8, 0xff, 0xe0][..], &[0xff, 0xfb, 0x90, 0x64].repeat(100)].concat();
    let mut tags = Tags::default();
    tags.add_picture(b"<svg onload=alert(1)>", &[]);
    tags.add_picture(&[&jpeg[..], &vec![0; cover::MOST_BYTES]].concat(), &[]);
    tags.add_picture(&jpeg, &[]);
    assert_eq!(tags.left_out(), 1);
    let tag = read_back(tags);
    let pictures: Vec<&Picture> = tag.pictures().collect();
    assert_eq!(pictures.len(), 1);
    assert_eq!(
        (pictures[0].mime_type.as_str(), &pictures[0].data),
        ("image/jpeg", &jpeg)
    );
}

#[test]
fn the_title_that_is_given_counts_where_there_is_no_other() {
    let mut untitled = Tags::default();
    untitled.title_or(" Mr. Smith talks ");
    assert_eq!(read_back(untitled).title(), Some("Mr. Smith talks"));
    let mut titled = tags(&[("title", b"Its own")]);
    titled.title_or("holiday");
    assert_eq!(read_back(titled).title(), Some("Its own"));
}

#[test]
fn nothing_to_tell_is_no_tag() {
    assert!(Tags::default().into_bytes().unwrap().is_empty());
    assert!(
        tags(&[("title", b" \0 "), ("free", b"\n")])
            .into_bytes()
            .unwrap()
            .is_empty()
    );
}
