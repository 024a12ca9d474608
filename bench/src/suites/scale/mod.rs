//! The suite of growth: what a message costs beside more and more of something, and what each of them takes.
//! It prints a line for each number and one that judges the growth, and draws all of them.

mod measure;
mod table;

use std::fs;
use std::path::PathBuf;

use crate::child::Program;
use crate::error::Failure;
use crate::figure::{self, Figure, Goal};
use crate::growth::{FLAT, Growth};
use crate::machine;
use crate::plot::{self, Line, Panel};
use crate::suites::Options;

use measure::Series;
use table::Spec;

/// The environment variable that asks for a short run: smaller numbers, and no plot is written.
pub const SHORT_VARIABLE: &str = "BENCH_SHORT";

/// Measures everything that is asked for, prints a line for each figure, and draws what is complete.
///
/// # Errors
/// [`Failure`] when nothing can be measured at all.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let short = std::env::var_os(SHORT_VARIABLE).is_some();
    println!("{}", machine::describe());
    println!(
        "load before: {}, rounds: {}",
        machine::load(),
        options.rounds
    );
    println!("{}", figure::heading());
    if !Program::ours(measure::OURS).exists() {
        return Err(Failure::Lacking(format!("{} was not built", measure::OURS)));
    }
    let mut complete = true;
    let mut drawn: Vec<Panel> = Vec::new();
    for spec in table::specs() {
        let names = [spec.name, spec.each.unwrap_or(spec.name)];
        if !names.iter().any(|name| options.wants(name)) {
            continue;
        }
        match spec.measure(options.rounds, short) {
            Ok(all) => {
                for series in &all {
                    print(&spec, series);
                    draw(&mut drawn, &spec, series);
                }
            }
            Err(failure) => {
                let is_lacking = matches!(failure, Failure::Lacking(_));
                complete &= is_lacking;
                let what = if is_lacking { "not run" } else { "failed" };
                println!(
                    "{}",
                    figure::line_without(spec.name, &format!("{what}: {failure}"))
                );
            }
        }
    }
    println!("load after: {}", machine::load());
    if short || options.only.is_some() || !complete {
        println!("not drawn: the run was short, of a part, or not complete");
    } else {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.svg");
        fs::write(&path, plot::draw(&drawn)).map_err(|error| Failure::File {
            path: path.display().to_string(),
            what: error.to_string(),
        })?;
        println!("drawn: {}", path.display());
    }
    Ok(complete)
}

/// A line for each number, and one for the growth.
fn print(spec: &Spec, series: &Series) {
    let shown = |name: String, ours, unit, goal| Figure {
        name,
        unit,
        ours,
        peers: Vec::new(),
        goal,
        more_is_better: false,
    };
    let name = series.name;
    for (n, cost) in &series.points {
        // The goal is of a number; what more of them take is shown.
        let goal = spec.each_goal.filter(|(at, _)| series.is_each && at == n);
        let goal = goal.map_or(Goal::None, |(_, most)| Goal::AtMost(most));
        let figure = shown(format!("{name}, {n}"), *cost, series.unit, goal);
        println!("{}", figure.line());
    }
    let costs: Vec<(f64, f64)> = series
        .points
        .iter()
        .map(|(n, cost)| (*n as f64, *cost))
        .collect();
    let Some(growth) = Growth::of(&costs) else {
        return;
    };
    // Where it follows the logarithm it may be more times as much.
    let goal = match growth {
        Growth::Logarithmic(_) => Goal::AtMost(growth.times().ceil()),
        Growth::Flat(_) | Growth::Faster(_) => Goal::AtMost(FLAT),
    };
    let figure = shown(format!("{name}: growth"), growth.times(), "times", goal);
    println!("{} ({growth})", figure.line());
}

/// Adds the line to the panel of its title.
fn draw(panels: &mut Vec<Panel>, spec: &Spec, series: &Series) {
    let points = series
        .points
        .iter()
        .map(|(n, cost)| (*n as f64, *cost))
        .collect();
    let line = Line {
        name: spec.line.to_owned(),
        points,
    };
    let title = if series.is_each {
        "memory of each"
    } else {
        spec.panel
    };
    let unit = match series.unit {
        "instr" => "instructions of a message",
        "ns" => "CPU time of a message, ns",
        _ => "bytes",
    };
    let same = |panel: &&mut Panel| panel.title == title && panel.unit == unit;
    if let Some(panel) = panels.iter_mut().find(same) {
        panel.lines.push(line);
    } else {
        panels.push(Panel {
            title: title.to_owned(),
            unit: unit.to_owned(),
            lines: vec![line],
        });
    }
}
