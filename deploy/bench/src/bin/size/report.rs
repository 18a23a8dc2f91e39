//! What was measured: a row for each question, a column for each size.

use std::fmt::Write;

#[derive(Default)]
pub(crate) struct Report {
    sizes: Vec<i64>,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    unit: Unit,
    found: Vec<f64>,
}

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Milliseconds,
    Seconds,
    Megabytes,
}

impl Report {
    pub(crate) fn size(&mut self, runs: i64) {
        self.sizes.push(runs);
    }

    pub(crate) fn add(&mut self, name: &'static str, unit: Unit, value: f64) {
        local::print(&format!("{name}: {}", unit.show(value)));
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.found.push(value),
            None => self.rows.push(Row { name, unit, found: vec![value] }),
        }
    }

    pub(crate) fn table(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let mut table =
            format!("\n{cores} cores, everything on one machine.\n\n| runs, each with five task runs |");
        for runs in &self.sizes {
            let _ = write!(table, " {:.1} M |", *runs as f64 / 1e6);
        }
        table += " last to first |\n|---|";
        table += &"---:|".repeat(self.sizes.len() + 1);
        for Row { name, unit, found } in &self.rows {
            let _ = write!(table, "\n| {name} |");
            for value in found {
                let _ = write!(table, " {} |", unit.show(*value));
            }
            if let [first, .., last] = found.as_slice() {
                let _ = write!(table, " {:.1} |", last / first);
            }
        }
        table
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.1} s"),
            Self::Megabytes => format!("{value:.0} MB"),
        }
    }
}
