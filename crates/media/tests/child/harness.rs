//! Runs tests as libtest does: this program has a `main` of its own, because it is also the child.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// Names each function after itself.
macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn())),*]
    };
}
pub(crate) use tests;

/// Runs those whose name holds one of the arguments, or all, and says how it went in libtest's words.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| {
        let matches = |filter: &&String| {
            if exact {
                name == **filter
            } else {
                name.contains(filter.as_str())
            }
        };
        wanted.is_empty() || wanted.iter().any(matches)
    };
    let chosen: Vec<&Test> = tests.iter().filter(|(name, _)| is_wanted(name)).collect();
    println!("\nrunning {} tests", chosen.len());
    let started = Instant::now();
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        print!("test {name} ... ");
        std::io::stdout().flush().unwrap();
        if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            println!("ok");
        } else {
            println!("FAILED");
            failed.push(*name);
        }
    }
    for name in &failed {
        println!("    {name}");
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failed.len(),
        failed.len(),
        tests.len() - chosen.len(),
        started.elapsed().as_secs_f32(),
    );
    ExitCode::from(if failed.is_empty() { 0 } else { 101 })
}
