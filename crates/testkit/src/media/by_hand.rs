//! Media that no program here writes, put together byte by byte.

/// A MOD of four channels: a square wave for two seconds, ended by a jump out of the pattern.
pub(super) fn module() -> Vec<u8> {
    const WAVE_BYTES: usize = 64;
    const WORDS: u16 = 32;
    let mut bytes = padded(b"a module", 20);
    for number in 0..31 {
        let (words, volume) = if number == 0 { (WORDS, 64) } else { (0, 0) };
        bytes.extend(padded(b"square", 22));
        bytes.extend(words.to_be_bytes());
        // Not out of tune, so loud, and repeated from the first word on.
        bytes.extend([0, volume, 0, 0]);
        bytes.extend(words.max(1).to_be_bytes());
    }
    // One pattern, which is the first.
    bytes.extend([1, 127]);
    bytes.extend([0; 128]);
    bytes.extend(b"M.K.");
    for row in 0..64 {
        let note: [u8; 4] = if row % 4 == 0 { [0x01, 0xac, 0x10, 0] } else { [0; 4] };
        let jump: [u8; 4] = if row == 16 { [0, 0, 0x0d, 0] } else { [0; 4] };
        bytes.extend([note, [0; 4], [0; 4], jump].concat());
    }
    bytes.extend((0..WAVE_BYTES).map(|at| if at < WAVE_BYTES / 2 { 100_u8 } else { 156 }));
    bytes
}

/// A tune of the Nintendo Entertainment System: one tone, which ends after so many sixtieths of a second, or never.
pub(super) fn tune(ends_after: Option<u8>) -> Vec<u8> {
    const LOADED_AT: u16 = 0x8000;
    // The program of the 6502 that begins the tone: each register of the sound chip, and a counter that begins at zero.
    let mut program = Vec::new();
    for (value, register) in [(0x0f, 0x15), (0xbf, 0x00), (0xc9, 0x02), (0x00, 0x03)] {
        program.extend([0xa9, value, 0x8d, register, 0x40]);
    }
    program.extend([0xa9, 0, 0x85, 0x10, 0x60]);
    let plays_at = LOADED_AT + u16::try_from(program.len()).unwrap_or(0);
    // The one that is called sixty times a second: counts, and at the end turns the channel off.
    if let Some(calls) = ends_after {
        program.extend([0xe6, 0x10, 0xa5, 0x10, 0xc9, calls, 0xd0, 5, 0xa9, 0, 0x8d, 0x15, 0x40]);
    }
    program.push(0x60);
    let mut bytes = b"NESM\x1a\x01\x01\x01".to_vec();
    bytes.extend([LOADED_AT, LOADED_AT, plays_at].map(u16::to_le_bytes).concat());
    for text in ["a tone", "nobody", "2026"] {
        bytes.extend(padded(text.as_bytes(), 32));
    }
    // Microseconds between two calls on an American machine; no banks; the same on a European one; nothing extra.
    bytes.extend(16_666_u16.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(20_000_u16.to_le_bytes());
    bytes.extend([0; 6]);
    bytes.extend(program);
    bytes
}

/// A script of SBaGen: two tones that beat, and pink noise, for two seconds or without end.
pub(super) fn script(ends: bool) -> String {
    let tones = "both: pink/20 200+4/50\n";
    if ends {
        format!("-SE\n{tones}off: -\n0:00:00 both\n0:00:02 off\n")
    } else {
        format!("{tones}NOW both\n")
    }
}

/// A recording of Magic Lantern, or its continuation of that number, which goes under a name that ends in the number:
/// raw pictures, and two seconds of sound that is as loud as asked.
pub(super) fn recording(continuation: u16, loudest: i16) -> Vec<u8> {
    const FRAMES: u32 = 20;
    const FRAMES_PER_SECOND: u32 = 10;
    const RATE_HZ: u32 = 48_000;
    const SIDE: u16 = 16;
    const BITS: u32 = 14;
    let block = |name: &[u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len() + 8).unwrap_or(0).to_le_bytes();
        [name, length.as_slice(), content].concat()
    };
    let numbers = |numbers: &[u32]| numbers.iter().copied().flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let header = [
        b"v2.0\0\0\0\0" as &[u8],
        &7_u64.to_le_bytes(),
        &continuation.to_le_bytes(),
        &2_u16.to_le_bytes(),
        &numbers(&[0]),
        // Raw pictures and plain sound.
        &[1, 0, 1, 0],
        &numbers(&[FRAMES, FRAMES, FRAMES_PER_SECOND, 1]),
    ];
    let mut bytes = block(b"MLVI", &header.concat());
    let begin = 0_u64.to_le_bytes();
    let picture = [
        &begin as &[u8],
        &SIDE.to_le_bytes(),
        &SIDE.to_le_bytes(),
        &numbers(&[1, 0, 0, 0, 0, 0, BITS]),
        &[0; 48],
        &numbers(&[0x0201_0100]),
        &[0; 80],
    ];
    bytes.extend(block(b"RAWI", &picture.concat()));
    let sound = [
        &begin as &[u8],
        &[1, 0, 1, 0],
        &numbers(&[RATE_HZ, RATE_HZ * 2]),
        &[2, 0, 16, 0],
    ];
    bytes.extend(block(b"WAVI", &sound.concat()));
    let raw = vec![0; usize::from(SIDE) * usize::from(SIDE) * BITS as usize / 8];
    let samples: Vec<u8> = (0..RATE_HZ / FRAMES_PER_SECOND)
        .flat_map(|at| if at / 60 % 2 == 0 { loudest } else { -loudest }.to_le_bytes())
        .collect();
    for frame in 0..FRAMES {
        let time = (u64::from(frame) * 1_000_000 / u64::from(FRAMES_PER_SECOND)).to_le_bytes();
        let number = numbers(&[u32::from(continuation) * FRAMES + frame]);
        bytes.extend(block(b"VIDF", &[&time as &[u8], &number, &[0; 12], &raw].concat()));
        bytes.extend(block(b"AUDF", &[&time as &[u8], &number, &[0; 4], &samples].concat()));
    }
    bytes
}

/// A Matroska file whose sound is compressed once more, with bzip2, as the format allows: a square wave for two
/// seconds.
pub(super) fn compressed_matroska() -> Vec<u8> {
    // How is number 1.
    matroska(&matroska_inside(&[b"\x50\x34", b"\x42\x54"], &[1]))
}

/// A Matroska file whose sound is said to be encrypted.
pub(super) fn encrypted_matroska() -> Vec<u8> {
    let is_encryption = matroska_element(b"\x50\x33", &[1]);
    let key_name = matroska_inside(&[b"\x50\x35", b"\x47\xe2"], b"the name of a key");
    matroska(&[is_encryption, key_name].concat())
}

fn matroska_element(id: &[u8], content: &[u8]) -> Vec<u8> {
    // A length of 14 bits.
    let length = 0x4000 | u16::try_from(content.len()).unwrap_or(0);
    [id, &length.to_be_bytes(), content].concat()
}

fn matroska_inside(path: &[&[u8]], content: &[u8]) -> Vec<u8> {
    let innermost = content.to_vec();
    path.iter()
        .rev()
        .fold(innermost, |content, id| matroska_element(id, &content))
}

/// A Matroska file whose blocks of sound are compressed with bzip2, or encoded in whatever way `encoding` says.
fn matroska(encoding: &[u8]) -> Vec<u8> {
    const BLOCKS: u16 = 20;
    const BLOCK_MILLISECONDS: u16 = 100;
    // 800 samples of 16 bits.
    const BLOCK: [u8; 51] = [
        0x42, 0x5a, 0x68, 0x31, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0xb2, 0x86, 0xfe, 0xa8, 0x00, 0x00, 0xcf, 0x90,
        0x02, 0x08, 0x40, 0x00, 0x44, 0x20, 0x00, 0x30, 0xcd, 0x34, 0x0a, 0x4a, 0x69, 0x82, 0x2e, 0x13, 0xc2, 0x53,
        0x09, 0x4c, 0x27, 0x04, 0x5f, 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0xb2, 0x86, 0xfe, 0xa8,
    ];
    let (element, inside) = (matroska_element, matroska_inside);
    let header = inside(&[b"\x1a\x45\xdf\xa3", b"\x42\x82"], b"matroska");
    let sound = [
        element(b"\xb5", &8000_f32.to_be_bytes()),
        element(b"\x9f", &[1]),
        element(b"\x62\x64", &[16]),
    ];
    let encoding = inside(&[b"\x6d\x80", b"\x62\x40"], encoding);
    let track = [
        element(b"\xd7", &[1]),
        element(b"\x73\xc5", &[1]),
        element(b"\x83", &[2]),
        element(b"\x86", b"A_PCM/INT/LIT"),
        element(b"\xe1", &sound.concat()),
        encoding,
    ];
    let tracks = inside(&[b"\x16\x54\xae\x6b", b"\xae"], &track.concat());
    let mut cluster = element(b"\xe7", &[0]);
    for number in 0..BLOCKS {
        let time = (number * BLOCK_MILLISECONDS).to_be_bytes();
        cluster.extend(element(b"\xa3", &[&[0x81], time.as_slice(), &[0x80], &BLOCK].concat()));
    }
    let cluster = element(b"\x1f\x43\xb6\x75", &cluster);
    let segment = element(b"\x18\x53\x80\x67", &[tracks, cluster].concat());
    [header, segment].concat()
}

fn padded(text: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = text.to_vec();
    bytes.resize(length, 0);
    bytes
}

/// An 8SVX in IFF with a tone of two seconds, in differences of four bits.
///
/// Source: "8SVX" IFF 8-Bit Sampled Voice (Electronic Arts, 1985), appendix C; the powers of two are compression number
/// 2.
pub(super) fn eight_bit_voice(powers_of_two: bool) -> Vec<u8> {
    const RATE_HZ: u16 = 8000;
    const FIBONACCI: [i16; 16] = [-34, -21, -13, -8, -5, -3, -2, -1, 0, 1, 2, 3, 5, 8, 13, 21];
    const POWERS: [i16; 16] = [-128, -64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64];
    let steps = if powers_of_two { POWERS } else { FIBONACCI };
    let mut value = 0_i16;
    // A triangle of 100 Hz, as steep as both can follow.
    let codes: Vec<u8> = (0..2 * i16::try_from(RATE_HZ).unwrap_or(0))
        .map(|number| {
            let target = ((number + 20) % 80 - 40).abs() * 4 - 80;
            let nearest = (0..16).min_by_key(|code| (value + steps[usize::from(*code)] - target).abs());
            let code = nearest.unwrap_or(8);
            value += steps[usize::from(code)];
            code
        })
        .collect();
    let mut body = vec![0, 0];
    body.extend(codes.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    let header = [
        &(2 * u32::from(RATE_HZ)).to_be_bytes() as &[u8],
        &[0; 8],
        &RATE_HZ.to_be_bytes(),
        &[1, if powers_of_two { 2 } else { 1 }],
        &0x1_0000_u32.to_be_bytes(),
    ]
    .concat();
    let form = [
        b"8SVXVHDR" as &[u8],
        &length(&header),
        &header,
        b"BODY",
        &length(&body),
        &body,
    ]
    .concat();
    [b"FORM" as &[u8], &length(&form), &form].concat()
}
