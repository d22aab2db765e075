//! The campaign: which files, how many, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use media::child::{Child, Program};
use media::{ConvertError, Limits, Progress, Settings, Source, Verdict};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::mutation::mutate;

/// How many files when nobody says.
const MUTATIONS: u32 = 300;
/// The seed when nobody says.
const SEED: u64 = 1;
/// Conversions at a time.
const SIDE_BY_SIDE: usize = 2;
/// No conversion of three damaged seconds takes this long: ten times what the slowest was seen to take, on a loaded
/// machine.
const HANG_GUARD: Duration = Duration::from_secs(60);

/// The longest that is converted: damage makes music that plays for ever of some that ends.
const LONGEST: Duration = Duration::from_secs(600);
/// The most work for a file of [`COMPUTING`].
const MOST_WORK: Duration = Duration::from_secs(20);
/// The base that is a program for a console: damaged, it can keep its player busy without a sound.
const COMPUTING: &str = "console-tune";

/// What became of one damaged file.
struct Ending {
    opened: bool,
    /// The verdict's name and code, or what else it was.
    name: String,
    /// Neither an MP3 nor a verdict.
    undocumented: bool,
    took: Duration,
}

/// What can be said on the command line: `--name=value`.
fn option<T: std::str::FromStr>(name: &str) -> Option<T> {
    let prefix = format!("--{name}=");
    let value = std::env::args().find_map(|argument| argument.strip_prefix(&prefix).map(str::to_owned))?;
    Some(
        value
            .parse()
            .ok()
            .unwrap_or_else(|| panic!("--{name} cannot be {value}")),
    )
}

/// Undamaged media, by name. More than one codec in each of many containers.
fn bases() -> Vec<(&'static str, Vec<u8>)> {
    let samples = testkit::media::samples();
    let read = |sample: &testkit::media::Sample| (sample.name, fs::read(&sample.path).unwrap());
    samples.iter().map(read).collect()
}

fn damaged(bases: &[(&'static str, Vec<u8>)], seed: u64, index: u32) -> (&'static str, Vec<u8>) {
    let (name, base) = &bases[index as usize % bases.len()];
    let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(index));
    let mut data = base.clone();
    mutate(&mut data, &mut random);
    (name, data)
}

fn convert(base: &str, data: Vec<u8>) -> Ending {
    let begun = Instant::now();
    let opened = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&opened);
    let watch = move |progress: Progress| {
        if progress.duration.is_some() || !progress.position.is_zero() {
            seen.store(true, Ordering::Relaxed);
        }
        ControlFlow::Continue(())
    };
    let mut settings = Settings {
        limits: Limits {
            duration: LONGEST,
            time: if base == COMPUTING {
                MOST_WORK
            } else {
                Limits::default().time
            },
            ..Limits::default()
        },
        ..Settings::default()
    };
    let mut mp3 = Vec::new();
    let mut attempt = |settings: &Settings| {
        mp3.clear();
        let child = Child::start(&Program::this()).unwrap_or_else(|error| panic!("no child starts: {error}"));
        child.convert(
            Source::seekable(Cursor::new(data.clone())),
            &mut mp3,
            settings,
            watch.clone(),
        )
    };
    let mut outcome = attempt(&settings);
    // As every caller does: damage can make another kind of MP3 of the rest.
    while let Err(ConvertError::BeginAnew(why)) = &outcome
        && let Some(again) = settings.anew(*why)
    {
        settings = again;
        outcome = attempt(&settings);
    }
    let took = begun.elapsed();
    let opened = opened.load(Ordering::Relaxed) || outcome.is_ok();
    let (name, undocumented) = match outcome {
        Ok(converted) if mp3.len() as u64 != converted.size_bytes => {
            ("an MP3 of another length than told".to_owned(), true)
        }
        Ok(_) => ("MP3".to_owned(), false),
        Err(ConvertError::Verdict(verdict)) => (name_of(&verdict), false),
        Err(other) => (format!("{other:?}"), true),
    };
    Ending {
        opened,
        name,
        undocumented,
        took,
    }
}

/// The verdict's code, and its own name where several share one.
fn name_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Crashed => format!("{} (crashed)", verdict.code()),
        _ => verdict.code().to_owned(),
    }
}

pub(crate) fn a_seed_gives_the_same_damage_again() {
    let bases = bases();
    for index in 0..100 {
        assert!(damaged(&bases, 5, index) == damaged(&bases, 5, index), "{index}");
    }
    let different = (0..100).filter(|index| damaged(&bases, 5, *index) != damaged(&bases, 6, *index));
    assert!(different.count() > 90);
}

pub(crate) fn damaged_media_ends_in_an_mp3_or_a_documented_verdict() {
    let (seed, mutations) = (option("seed").unwrap_or(SEED), option("mutations").unwrap_or(MUTATIONS));
    let bases = bases();
    let indexes = option("only").map_or(0..mutations, |only| only..only + 1);
    if let Some(path) = option::<String>("keep") {
        fs::write(path, damaged(&bases, seed, indexes.start).1).unwrap();
    }
    let next = AtomicU32::new(indexes.start);
    let endings = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= indexes.end {
                        return;
                    }
                    let (name, data) = damaged(&bases, seed, index);
                    endings.lock().unwrap().insert(index, (name, convert(name, data)));
                }
            });
        }
    });
    let endings = endings.into_inner().unwrap();
    assert_eq!(endings.len(), indexes.len(), "a conversion broke its thread");
    print_table(seed, &endings);
    judge(seed, &endings);
}

fn print_table(seed: u64, endings: &BTreeMap<u32, (&str, Ending)>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, ending) in endings.values() {
        *counts.entry(&ending.name).or_default() += 1;
    }
    println!("\n{} damaged files, seed {seed}", endings.len());
    for (name, count) in &counts {
        println!("  {count:>6}  {name}");
    }
    let opened = endings.values().filter(|(_, ending)| ending.opened).count();
    println!("  {opened:>6}  of them got past opening");
    if let Some((index, (base, slowest))) = endings.iter().max_by_key(|(_, (_, ending))| ending.took) {
        println!(
            "  the slowest took {:.2} s: {index}, of {base}",
            slowest.took.as_secs_f32()
        );
    }
    for (index, (base, ending)) in endings {
        if ending.undocumented || ending.name.contains("crashed") {
            println!("  {index}, of {base}: {}", ending.name);
        }
    }
}

fn judge(seed: u64, endings: &BTreeMap<u32, (&str, Ending)>) {
    let undocumented: Vec<&u32> = endings
        .iter()
        .filter(|(_, (_, ending))| ending.undocumented)
        .map(|(index, _)| index)
        .collect();
    assert!(
        undocumented.is_empty(),
        "neither an MP3 nor a verdict: --seed={seed} --only={undocumented:?}"
    );
    let slow = endings.iter().find(|(_, (_, ending))| ending.took > HANG_GUARD);
    assert!(
        slow.is_none(),
        "one hung: --seed={seed} --only={:?}",
        slow.map(|(index, _)| index)
    );
    if endings.len() < MUTATIONS as usize {
        return;
    }
    let bases: BTreeSet<&str> = endings.values().map(|(base, _)| *base).collect();
    assert!(bases.len() >= 12, "{bases:?}");
    let opened = endings.values().filter(|(_, ending)| ending.opened).count();
    assert!(
        opened * 2 >= endings.len(),
        "only {opened} got past opening: the damage is too rough to test what comes after"
    );
}
