//! Loads of many days, made: requests per second for each second, with the noise that real ones have.

use std::f64::consts::TAU;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) const DAY: usize = 86_400;
/// Variance of a second's arrivals over their mean: 1 would be Poisson.
const DISPERSION: f64 = 1.5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Days with an afternoon peak; weekends have less.
    Day,
    /// Days, and once a day four times as much within two minutes.
    Flash,
    /// From 08 to 20 h half the load every other four minutes.
    Square,
    /// Days with an outage of twelve minutes, and half as much again for ten after it.
    Outage,
    /// Slowly up over days.
    Ramp,
    /// Bursts at any time.
    Bursts,
    /// Random at every scale of time.
    Pink,
}

impl Shape {
    pub(crate) const ALL: [Self; 7] = [
        Self::Day,
        Self::Flash,
        Self::Square,
        Self::Outage,
        Self::Ramp,
        Self::Bursts,
        Self::Pink,
    ];

    /// Arrivals of each second, scaled so that the busiest minutes (99.9 %) have `peak` requests per second.
    pub(crate) fn arrivals(self, days: usize, peak: f64, seed: u64) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rates = self.rates(days, &mut random);
        let mut minutes: Vec<f64> = rates
            .chunks(60)
            .map(|minute| minute.iter().sum::<f64>() / minute.len() as f64)
            .collect();
        minutes.sort_by(f64::total_cmp);
        let busiest = minutes[minutes.len() * 999 / 1000];
        for rate in &mut rates {
            let mean = *rate * peak / busiest;
            *rate = (mean + normal(&mut random) * (DISPERSION * mean).sqrt())
                .round()
                .max(0.0);
        }
        rates
    }

    fn rates(self, days: usize, random: &mut StdRng) -> Vec<f64> {
        let seconds = days * DAY;
        match self {
            Self::Bursts => bursts(seconds, random),
            Self::Pink => pink(seconds, random),
            _ => (0..seconds).map(|second| self.rate(second, seconds)).collect(),
        }
    }

    fn rate(self, second: usize, of: usize) -> f64 {
        let base = daily(second);
        let in_day = second % DAY;
        match self {
            Self::Flash => base * flash(in_day),
            Self::Square if (8 * 3600..20 * 3600).contains(&in_day) && in_day / 240 % 2 == 1 => 0.5,
            Self::Square => 1.0,
            Self::Outage => match in_day.checked_sub(15 * 3600) {
                Some(0..720) => base * 0.05,
                Some(720..1320) => base * 1.5,
                _ => base,
            },
            Self::Ramp => 0.1 + 0.9 * second as f64 / of as f64,
            _ => base,
        }
    }
}

fn daily(second: usize) -> f64 {
    let hour = (second % DAY) as f64 / 3600.0;
    let weekend = matches!(second / DAY % 7, 5 | 6);
    let level = 0.62 - 0.38 * (TAU * (hour - 4.0) / 24.0).cos();
    if weekend { level * 0.7 } else { level }
}

/// At 11 h: up within two minutes, a quarter of an hour there, half an hour down.
fn flash(in_day: usize) -> f64 {
    let Some(since) = in_day.checked_sub(11 * 3600) else {
        return 1.0;
    };
    match since as f64 {
        t if t < 120.0 => 1.0 + 3.0 * t / 120.0,
        t if t < 1020.0 => 4.0,
        t if t < 2820.0 => 4.0 - 3.0 * (t - 1020.0) / 1800.0,
        _ => 1.0,
    }
}

/// About eleven a day, within a minute four and a half times as much, for some minutes.
fn bursts(seconds: usize, random: &mut StdRng) -> Vec<f64> {
    let mut rates: Vec<f64> = (0..seconds).map(|second| 0.3 * daily(second)).collect();
    for _ in 0..seconds / DAY * 11 {
        let begin = random.random_range(0..seconds);
        let length = random.random_range(120..900);
        for (since, rate) in rates.iter_mut().skip(begin).take(length).enumerate() {
            *rate *= 1.0 + 3.5 * (since as f64 / 60.0).min(1.0);
        }
    }
    rates
}

/// A sum of random steps, each octave of time with the same share (Voss and McCartney).
fn pink(seconds: usize, random: &mut StdRng) -> Vec<f64> {
    const OCTAVES: usize = 12;
    let mut levels: Vec<f64> = (0..OCTAVES).map(|_| normal(random)).collect();
    let minute = |second: usize| second / 30;
    let mut rates = Vec::with_capacity(seconds);
    for second in 0..seconds {
        if second % 30 == 0 {
            let octave = (minute(second).trailing_zeros() as usize).min(OCTAVES - 1);
            levels[octave] = normal(random);
        }
        let sum: f64 = levels.iter().sum();
        rates.push((0.5 + 0.06 * sum).max(0.05));
    }
    rates
}

/// Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let (one, two): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - one).ln()).sqrt() * (TAU * two).cos()
}
