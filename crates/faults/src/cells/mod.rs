//! The crash cells: every step border times every way to fail there, each once, on both sets of adapters.
//!
//! The services are built with the feature `crashpoints` (`runtime::crashpoints`). A cell arms one point with one
//! action, uploads until somebody came by it, and goes on; what became of all the jobs is checked at the end. The
//! services are visited beside each other, and so are several single processes, each with data of its own.

mod points;
mod site;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::campaign::Wish;
use crate::check::{self, Findings};
use crate::fleet::Fleet;
use crate::home::Home;
use crate::load::Load;
use crate::plan::{Act, Fault, SINGLE, Service};
use crate::report::{self, Window};
use crate::say;
use crate::single::Single;
use points::{ACTIONS, Cell, Set};

pub(crate) use site::{Site, resume};

/// How many single processes share the cells of their set.
const SINGLES: usize = 4;
/// Uploads of one visitor; the next one's numbers begin there.
const NUMBERS: usize = 100_000;

/// A cell, whether anybody came by, and when that was.
struct Visit {
    cell: Cell,
    visited: bool,
    window: Window,
}

/// What came of a group of cells that were visited on one home.
struct Outcome {
    cells: Vec<(Cell, bool)>,
    findings: Findings,
}

/// Visits `wish.jobs` cells of all, in the seed's order.
///
/// # Errors
/// The campaign itself does not work.
pub(crate) async fn run(wish: Wish) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let cells = Cell::draw(wish.seed, wish.jobs, wish.cell.as_deref());
    ensure!(!cells.is_empty(), "there is no such cell");
    say(format!(
        "SEED={} CELLS={} of {}, ledgers and logs in {}",
        wish.seed,
        cells.len(),
        Cell::all().len(),
        wish.directory.display()
    ));
    let mut groups = Vec::new();
    let (on_servers, embedded): (Vec<Cell>, Vec<Cell>) = cells.iter().partition(|cell| cell.set == Set::Servers);
    if !on_servers.is_empty() {
        groups.push(on(wish.below("servers"), on_servers));
    }
    for number in 0..SINGLES.min(embedded.len()) {
        let share = embedded.iter().skip(number).step_by(SINGLES).copied().collect();
        groups.push(on(wish.below(&format!("embedded-{number}")), share));
    }
    let outcomes = try_join_all(groups).await?;
    let visited = tell(&outcomes);
    say(format!("took {:.0} s", begun.elapsed().as_secs_f64()));
    let whole = visited && outcomes.iter().all(|outcome| outcome.findings.breaches.is_empty());
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Visits cells of one set on a home of its own, and checks what became of the jobs.
async fn on(wish: Wish, cells: Vec<Cell>) -> anyhow::Result<Outcome> {
    let ledger = wish.empty_ledger()?;
    let set = cells[0].set;
    let (directory, surroundings) = with_crash_points(&wish)?;
    let home = match set {
        Set::Servers => {
            Home::Services(Fleet::start(&wish.directory, &wish.programs, &surroundings, Arc::clone(&ledger)).await?)
        }
        Set::Embedded => {
            let variables = surroundings.variables;
            Home::Single(Single::start(&wish.directory, &wish.programs, variables, Arc::clone(&ledger)).await?)
        }
    };
    let load = Arc::new(Load::start(home, ledger, wish.seed).await?);
    let mut lanes: BTreeMap<&str, Vec<Cell>> = BTreeMap::new();
    for cell in cells {
        // Within a single process all stand still when one does.
        let lane = if set == Set::Servers { cell.service() } else { "all" };
        lanes.entry(lane).or_default().push(cell);
    }
    let mut visitors = JoinSet::new();
    for (number, lane) in lanes.into_values().enumerate() {
        let site = Site::new(&load, &directory, number * NUMBERS);
        visitors.spawn(visit_all(Arc::clone(&load), site, lane));
    }
    let (mut visited, mut windows) = (Vec::new(), Vec::new());
    while let Some(lane) = visitors.join_next().await {
        for visit in lane?? {
            visited.push((visit.cell, visit.visited));
            windows.push(visit.window);
        }
    }
    let findings = conclude(&load, &wish, &windows).await?;
    Ok(Outcome {
        cells: visited,
        findings,
    })
}

/// The directory for the scripts, made, and what the services have to know of it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn with_crash_points(wish: &Wish) -> anyhow::Result<(PathBuf, crate::fleet::Surroundings)> {
    let directory = wish.directory.join("crash");
    std::fs::create_dir_all(&directory)?;
    let mut surroundings = wish.surroundings();
    let variable = ("MP3_CRASH_DIRECTORY", directory.display().to_string());
    surroundings.variables.push(variable);
    Ok((directory, surroundings))
}

async fn visit_all(load: Arc<Load>, mut site: Site, cells: Vec<Cell>) -> anyhow::Result<Vec<Visit>> {
    let mut visits = Vec::new();
    for cell in cells {
        let began = load.ledger.now();
        let visited = site.visit(&cell).await?;
        // What stops one in a single process stops all.
        let stopped = match cell.set {
            Set::Servers => cell.service(),
            Set::Embedded => SINGLE,
        };
        let window = window(stopped, began, load.ledger.now());
        visits.push(Visit { cell, visited, window });
    }
    site.rest().await;
    Ok(visits)
}

/// What a service suffered, as a fault.
pub(crate) fn window(service: &'static str, began: Duration, ended: Duration) -> Window {
    Window {
        fault: Fault {
            kind: "F1",
            act: Act::Kill(Service(service, 0)),
            lasts: Duration::ZERO,
        },
        began,
        ended,
    }
}

/// Waits for rest, checks everything, and says what is broken.
///
/// # Errors
/// Something could not even be looked at.
pub(crate) async fn conclude(load: &Arc<Load>, wish: &Wish, windows: &[Window]) -> anyhow::Result<Findings> {
    check::quiesce(load, wish.patience).await;
    if let Home::Services(fleet) = &load.home {
        // Deliveries whose acknowledgement was lost come back when their connection ends.
        fleet.rabbitmq_management.close_connections().await?;
    }
    let findings = check::check(load, windows, &wish.directory).await?;
    load.home.close();
    findings.say_breaches(load);
    Ok(findings)
}

/// By action, how many cells were visited, and of how many.
type Row = BTreeMap<&'static str, (usize, usize)>;

/// A table of what was visited, and the sum; true when every cell was visited.
fn tell(outcomes: &[Outcome]) -> bool {
    let mut rows: BTreeMap<(Set, &str), Row> = BTreeMap::new();
    for (cell, visited) in outcomes.iter().flat_map(|outcome| &outcome.cells) {
        let by = cell.point.split('.').next().unwrap_or_default();
        let row = rows.entry((cell.set, by)).or_default();
        let count = row.entry(cell.action).or_default();
        count.0 += usize::from(*visited);
        count.1 += 1;
        if !visited {
            say(format!("NOT VISITED: {cell}"));
        }
    }
    say(format!(
        "| adapters | calls of | {} |\n|---|---|{}",
        ACTIONS.join(" | "),
        "---|".repeat(ACTIONS.len())
    ));
    for ((set, by), counts) in &rows {
        let count = |action| {
            let (visited, all) = counts.get(action).copied().unwrap_or_default();
            format!("{visited} of {all}")
        };
        say(format!("| {set:?} | `{by}.` | {} |", ACTIONS.map(count).join(" | ")));
    }
    for set in [Set::Servers, Set::Embedded] {
        let of: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.cells[0].0.set == set)
            .collect();
        let sum = |number: fn(&Findings) -> usize| of.iter().map(|outcome| number(&outcome.findings)).sum::<usize>();
        let recoveries = of
            .iter()
            .flat_map(|outcome| outcome.findings.recovery.jobs.clone())
            .collect();
        let [p50, p99, longest] = report::percentiles(recoveries);
        say(format!(
            "{set:?}: {} cells, {} jobs, {} lost, {} doubled, {} orphans, {} mail copies, recovery {p50:.1} / {p99:.1} / {longest:.1} s",
            of.iter().map(|outcome| outcome.cells.len()).sum::<usize>(),
            sum(|findings| findings.jobs),
            sum(|findings| findings.lost),
            sum(|findings| findings.doubled),
            sum(|findings| findings.orphans),
            sum(|findings| findings.copies),
        ));
    }
    let mut all = outcomes.iter().flat_map(|outcome| &outcome.cells);
    all.all(|(_, visited)| *visited)
}
