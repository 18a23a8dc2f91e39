//! The results: a row for each measurement, a column for each size.

use std::fmt::Write;

#[derive(Default)]
pub(crate) struct SizeReport {
    sizes: Vec<i64>,
    rows: Vec<SizeReportRow>,
}

struct SizeReportRow {
    name: &'static str,
    unit: SizeUnit,
    values: Vec<f64>,
}

#[derive(Clone, Copy)]
pub(crate) enum SizeUnit {
    Milliseconds,
    Seconds,
    Megabytes,
}

impl SizeReport {
    pub(crate) fn size(&mut self, runs: i64) {
        self.sizes.push(runs);
    }

    pub(crate) fn add(&mut self, name: &'static str, unit: SizeUnit, value: f64) {
        local::print(&format!("{name}: {}", unit.format(value)));
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.values.push(value),
            None => self.rows.push(SizeReportRow { name, unit, values: vec![value] }),
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
        for SizeReportRow { name, unit, values } in &self.rows {
            let _ = write!(table, "\n| {name} |");
            for value in values {
                let _ = write!(table, " {} |", unit.format(*value));
            }
            if let [first, .., last] = values.as_slice() {
                let _ = write!(table, " {:.1} |", last / first);
            }
        }
        table
    }
}

impl SizeUnit {
    fn format(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.1} s"),
            Self::Megabytes => format!("{value:.0} MB"),
        }
    }
}
