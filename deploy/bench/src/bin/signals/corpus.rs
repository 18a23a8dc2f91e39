//! The corpus: histories of pipelines of several shapes, as usual or with injected faults. The same seed
//! makes the same corpus.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The days of a history, of which the first ones are learned only. They hold a change of daylight saving.
pub(crate) const DAYS: i64 = 90;
pub(crate) const LEARNED_DAYS: i64 = 43;
/// Shares of the judged runs that are twice as slow, or start late by half an hour.
const SLOWED: f64 = 0.02;
const MISSED: f64 = 0.02;

/// How the runs of a pipeline are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Hourly, always ten minutes.
    Steady,
    /// Every two hours; three times as long on working days as on weekends.
    Weekly,
    /// Hourly, one percent longer each day.
    Drifting,
    /// Hourly; a fifth of the runs takes six times as long as the others.
    Bimodal,
    /// Hourly on working days, from eight to six.
    WorkingDays,
    /// Hourly in Berlin, and three times as long at night, in spring.
    SpringClock,
    /// The same in autumn.
    AutumnClock,
}

impl Shape {
    pub(crate) const ALL: [Self; 7] = [
        Self::Steady,
        Self::Weekly,
        Self::Drifting,
        Self::Bimodal,
        Self::WorkingDays,
        Self::SpringClock,
        Self::AutumnClock,
    ];

    pub(crate) fn zone(self) -> &'static str {
        match self {
            Self::SpringClock | Self::AutumnClock => "Europe/Berlin",
            _ => "UTC",
        }
    }

    /// The first day of the history.
    pub(crate) fn begin(self) -> NaiveDateTime {
        let month = if self == Self::AutumnClock { 8 } else { 1 };
        NaiveDate::from_ymd_opt(2026, month, 26).unwrap().and_hms_opt(0, 0, 0).unwrap()
    }

    /// Whether a run is due at this time of the wall clock.
    fn is_due(self, at: NaiveDateTime) -> bool {
        match self {
            Self::Weekly => at.hour().is_multiple_of(2),
            Self::WorkingDays => at.weekday().num_days_from_monday() < 5 && (8..18).contains(&at.hour()),
            // The clock skips or repeats the hours between.
            Self::SpringClock | Self::AutumnClock => !(1..4).contains(&at.hour()),
            _ => true,
        }
    }

    /// The usual duration of a run in seconds, and the one that an injected slowdown doubles.
    fn durations(self, day: i64, at: NaiveDateTime, random: &mut StdRng) -> (f64, f64) {
        let usual = match self {
            Self::Steady | Self::WorkingDays => 600.0,
            Self::Weekly if at.weekday().num_days_from_monday() < 5 => 1_200.0,
            Self::Weekly => 400.0,
            Self::Drifting => 600.0 * 1.01_f64.powi(day as i32),
            Self::Bimodal if random.random_bool(0.2) => 1_800.0,
            Self::Bimodal => 300.0,
            Self::SpringClock | Self::AutumnClock if at.hour() < 6 => 1_800.0,
            Self::SpringClock | Self::AutumnClock => 600.0,
        };
        (usual, if self == Self::Bimodal { 1_800.0 } else { usual })
    }
}

/// What was injected into a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injected {
    Nothing,
    Slowdown,
    MissedStart,
}

/// A run of the corpus. Durations are in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MadeRun {
    /// By the wall clock of the shape's zone.
    pub(crate) due: NaiveDateTime,
    pub(crate) start_delay: f64,
    pub(crate) duration: f64,
    /// The duration without chance, of which an injected slowdown is the double.
    pub(crate) usual_duration: f64,
    pub(crate) injected: Injected,
}

/// Makes the history of one pipeline.
pub(crate) fn history(shape: Shape, seed: u64, with_faults: bool) -> Vec<MadeRun> {
    let mut random = StdRng::seed_from_u64(seed);
    let hours = (0..DAYS * 24).map(|hour| (hour / 24, shape.begin() + TimeDelta::hours(hour)));
    let due = hours.filter(|(_, at)| shape.is_due(*at));
    due.map(|(day, due)| {
        let injected =
            if with_faults && day >= LEARNED_DAYS { inject(&mut random) } else { Injected::Nothing };
        let (usual, doubled) = shape.durations(day, due, &mut random);
        let duration = if injected == Injected::Slowdown { 2.0 * doubled } else { usual };
        // Of five runs in a hundred the duration differs by a fifth or more; of starts by some seconds.
        let duration = duration * (0.1 * normal(&mut random)).exp();
        let late = if injected == Injected::MissedStart { 1_800.0 } else { 0.0 };
        MadeRun {
            due,
            start_delay: late + random.random_range(1.0..12.0),
            duration,
            usual_duration: doubled,
            injected,
        }
    })
    .collect()
}

fn inject(random: &mut StdRng) -> Injected {
    match random.random::<f64>() {
        share if share < SLOWED => Injected::Slowdown,
        share if share < SLOWED + MISSED => Injected::MissedStart,
        _ => Injected::Nothing,
    }
}

/// A normally distributed number, by the method of Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
