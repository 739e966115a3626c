//! Draws landscapes and faces as SVG text, each from a number.

use std::fmt::Write as _;

use crate::dice::Dice;

const W: f64 = 1200.0;
const H: f64 = 900.0;

/// Sky from top to horizon, the light in it, and the land from far to near.
struct Palette {
    sky: [Rgb; 3],
    light: Rgb,
    far: Rgb,
    near: Rgb,
}

#[derive(Clone, Copy)]
struct Rgb(u32);

const PALETTES: [Palette; 9] = [
    palette([0x1b2a52, 0x8a5a83, 0xf6a56b], 0xffe9c4, 0xb8718a, 0x1a1733),
    palette([0x2f80c3, 0x8cc8ea, 0xe6f3f5], 0xfffdf0, 0x9cc0cc, 0x1d4a52),
    palette([0x0b1030, 0x1f2b5c, 0x56609a], 0xf3f0dc, 0x39447a, 0x070a1c),
    palette([0xf2b279, 0xf7d4a3, 0xfdf0d6], 0xffffff, 0xe5b58c, 0x7c4a35),
    palette([0x3b1d4d, 0xa13d63, 0xff7f66], 0xffd9a0, 0x93405f, 0x1f1028),
    palette([0x7fb7a8, 0xc0ddc8, 0xf4f1de], 0xffffff, 0xa3c4ad, 0x23483f),
    palette([0x274b6d, 0x5f8fa8, 0xf3c9a5], 0xfff1d6, 0x7d93a0, 0x14283a),
    palette([0xe58aa0, 0xf6bfb2, 0xfde8d3], 0xfff7ea, 0xd79aa6, 0x5a3050),
    palette([0x04252f, 0x0f5257, 0x6fbf9b], 0xe8ffe9, 0x1f6e68, 0x02141a),
];

const fn palette(sky: [u32; 3], light: u32, far: u32, near: u32) -> Palette {
    Palette {
        sky: [Rgb(sky[0]), Rgb(sky[1]), Rgb(sky[2])],
        light: Rgb(light),
        far: Rgb(far),
        near: Rgb(near),
    }
}

pub(super) fn landscape(number: usize) -> String {
    let mut dice = Dice::new(number as u64, 1);
    // Neighbours differ, and every scene meets every palette.
    let palette = &PALETTES[(number + number / 6) * 4 % PALETTES.len()];
    let mut canvas = Canvas::new(palette);
    let scene = number * 5 % 6;
    canvas.sky(&mut dice, scene);
    match scene {
        0 => mountains(&mut canvas, &mut dice),
        1 => sea(&mut canvas, &mut dice),
        2 => dunes(&mut canvas, &mut dice),
        3 => forest(&mut canvas, &mut dice),
        4 => city(&mut canvas, &mut dice),
        _ => balloons(&mut canvas, &mut dice),
    }
    canvas.end()
}

fn mountains(canvas: &mut Canvas<'_>, dice: &mut Dice) {
    let layers = 5;
    for layer in 0..layers {
        let near = f64::from(layer) / f64::from(layers - 1);
        let base = 430.0 + near * 330.0;
        let line = ridge(dice, base, 190.0 - near * 90.0, 0.55);
        canvas.land(&line, near);
        if layer < 3 {
            canvas.mist(base + 120.0);
        }
    }
}

fn sea(canvas: &mut Canvas<'_>, dice: &mut Dice) {
    let horizon = dice.between(480.0, 600.0);
    let far = ridge(dice, horizon - 6.0, 70.0, 0.5);
    canvas.land(&far, 0.25);
    let (top, bottom) = (
        canvas.palette.sky[2].mix(canvas.palette.near, 0.35),
        canvas.palette.near,
    );
    canvas.push(format_args!(
        "<linearGradient id='w' x1='0' x2='0' y1='0' y2='1'><stop stop-color='{top}'/>\
         <stop offset='1' stop-color='{bottom}'/></linearGradient>\
         <rect y='{horizon:.0}' width='1200' height='{:.0}' fill='url(#w)'/>",
        H - horizon
    ));
    let light = canvas.palette.light;
    let sun = canvas.sun;
    for _ in 0..70 {
        let depth = dice.unit();
        let y = horizon + 6.0 + depth * depth * (H - horizon);
        let wide = 12.0 + depth * 150.0;
        let x = sun + dice.between(-1.0, 1.0) * (40.0 + depth * 260.0) - wide / 2.0;
        canvas.push(format_args!(
            "<rect x='{x:.0}' y='{y:.0}' width='{wide:.0}' height='{:.1}' rx='2' fill='{light}' opacity='{:.2}'/>",
            1.5 + depth * 4.0,
            0.5 - depth * 0.36
        ));
    }
    let (x, y) = (dice.between(180.0, 1000.0), horizon + dice.between(30.0, 120.0));
    let size = (y - horizon) / 60.0 + 0.5;
    let dark = canvas.palette.near.mix(Rgb(0), 0.4);
    canvas.push(format_args!(
        "<g transform='translate({x:.0} {y:.0}) scale({size:.2})' fill='{dark}'><path d='M-46 0H50L34 18H-32Z'/>\
         <path d='M2-6V-104L46-6Z' fill='{light}' opacity='.92'/><path d='M-4-6V-84L-36-6Z' fill='{light}' opacity='.75'/></g>"
    ));
}

fn dunes(canvas: &mut Canvas<'_>, dice: &mut Dice) {
    let layers = 5;
    for layer in 0..layers {
        let near = f64::from(layer) / f64::from(layers - 1);
        let line = waves(dice, 520.0 + near * 260.0, 34.0 + near * 50.0);
        canvas.land(&line, near * 0.85);
    }
}

fn forest(canvas: &mut Canvas<'_>, dice: &mut Dice) {
    let back = ridge(dice, 430.0, 120.0, 0.5);
    canvas.land(&back, 0.1);
    for layer in 0..4 {
        let near = 0.3 + f64::from(layer) * 0.23;
        let base = 560.0 + f64::from(layer) * 95.0;
        let line = waves(dice, base, 26.0);
        let mut trees = String::new();
        let size = 40.0 + f64::from(layer) * 34.0;
        let mut x = dice.between(-20.0, 20.0);
        while x < W + 20.0 {
            let tall = size * dice.between(1.4, 2.6);
            let ground = height_at(&line, x) + 12.0;
            for tier in 0..3 {
                let part = f64::from(tier) / 3.0;
                let wide = size * (0.20 + part * 0.28);
                let top = ground - tall + tall * part * 0.72;
                write!(
                    trees,
                    "M{x:.0} {top:.0}l{wide:.0} {0:.0}h-{1:.0}Z",
                    tall * 0.46,
                    wide * 2.0
                )
                .ok();
            }
            x += size * dice.between(0.35, 0.9);
        }
        let color = canvas.tone(near);
        canvas.push(format_args!("<path d='{trees}' fill='{color}'/>"));
        canvas.land(&line, near);
        if layer < 2 {
            canvas.mist(base + 60.0);
        }
    }
}

fn city(canvas: &mut Canvas<'_>, dice: &mut Dice) {
    let lamp = Rgb(0xffd98a);
    for layer in 0..3 {
        let near = 0.35 + f64::from(layer) * 0.3;
        let color = canvas.tone(near);
        let mut x = -20.0;
        let mut houses = String::new();
        let mut windows = String::new();
        while x < W {
            let wide = dice.between(48.0, 120.0);
            let top = dice.between(330.0, 620.0) + f64::from(layer) * 90.0;
            write!(houses, "M{x:.0} 900V{top:.0}h{wide:.0}V900Z").ok();
            let mut y = top + 16.0;
            while y < H - 30.0 {
                let mut inner = x + 9.0;
                while inner < x + wide - 12.0 {
                    if dice.below(100) < 22 {
                        write!(windows, "M{inner:.0} {y:.0}h7v9h-7Z").ok();
                    }
                    inner += 17.0;
                }
                y += 24.0;
            }
            x += wide + dice.between(2.0, 14.0);
        }
        canvas.push(format_args!(
            "<path d='{houses}' fill='{color}'/><path d='{windows}' fill='{lamp}' opacity='{:.2}'/>",
            0.35 + near * 0.5
        ));
    }
}

fn balloons(canvas: &mut Canvas<'_>, dice: &mut Dice) {
    for layer in 0..3 {
        let near = f64::from(layer) / 2.0;
        let line = waves(dice, 640.0 + near * 120.0, 60.0);
        canvas.land(&line, 0.2 + near * 0.7);
    }
    for balloon in 0..5 {
        let size = dice.between(0.4, 1.0) + f64::from(balloon) * 0.16;
        let (x, y) = (dice.between(120.0, 1080.0), dice.between(130.0, 460.0));
        let silk = [0xe4572e, 0xf2b134, 0x4f9da6, 0xd64570, 0xf7f0e0, 0x5b5f97].map(Rgb);
        let (first, second) = (*dice.pick(&silk), *dice.pick(&silk));
        canvas.push(format_args!(
            "<g transform='translate({x:.0} {y:.0}) scale({size:.2})'>\
             <path d='M-60-10a60 60 0 0 1 120 0c0 36-34 58-46 84h-28c-12-26-46-48-46-84Z' fill='{first}'/>\
             <path d='M-24-10c0-40 12-60 24-60s24 20 24 60c0 36-8 58-14 84h-20c-6-26-14-48-14-84Z' fill='{second}' opacity='.9'/>\
             <path d='M-12 78l4 22M12 78l-4 22' stroke='#3a2a20' stroke-width='2'/>\
             <rect x='-11' y='99' width='22' height='16' rx='3' fill='#6b4a2f'/></g>"
        ));
    }
}

/// A face for a user without one: two tones and a simple person.
pub(super) fn face(number: usize) -> String {
    let mut dice = Dice::new(number as u64, 2);
    let hue = number * 47 % 360;
    let skin = dice.pick(&[0xf3d3b3, 0xe0ac82, 0xc68859, 0x8d5a3b, 0x5e3b28]);
    let hair = dice.pick(&[0x2b1d16, 0x5a3a22, 0xa86f32, 0xd9b36c, 0x8a8a8a, 0x7a2e2e]);
    let cut = dice.pick(&[
        "M52 88c-6-46 18-60 48-60s54 14 48 60c-8-26-22-34-48-34s-40 8-48 34Z",
        "M48 130c-14-70 12-104 52-104s66 34 52 104l-14 0c4-60-8-74-38-74s-42 14-38 74Z",
        "M54 84c0-40 20-52 46-52s46 12 46 52c-20-6-34-24-40-32c-10 18-30 28-52 32Z",
    ]);
    let shirt = (hue + 150) % 360;
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 200 200'>\
         <linearGradient id='b' x2='1' y2='1'><stop stop-color='hsl({hue} 70% 78%)'/>\
         <stop offset='1' stop-color='hsl({} 62% 58%)'/></linearGradient>\
         <rect width='200' height='200' fill='url(#b)'/>\
         <path d='M30 200c0-44 30-62 70-62s70 18 70 62Z' fill='hsl({shirt} 45% 42%)'/>\
         <rect x='84' y='118' width='32' height='36' rx='14' fill='#{skin:06x}'/>\
         <ellipse cx='100' cy='92' rx='42' ry='48' fill='#{skin:06x}'/>\
         <path d='{cut}' fill='#{hair:06x}'/>\
         <circle cx='84' cy='94' r='4.5' fill='#222'/><circle cx='116' cy='94' r='4.5' fill='#222'/>\
         <path d='M86 116q14 12 28 0' fill='none' stroke='#222' stroke-width='4' stroke-linecap='round'/></svg>",
        (hue + 40) % 360
    )
}

/// The picture so far.
struct Canvas<'p> {
    svg: String,
    palette: &'p Palette,
    /// Where the sun or moon stands, from the left.
    sun: f64,
}

impl<'p> Canvas<'p> {
    fn new(palette: &'p Palette) -> Self {
        let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1200 900' preserveAspectRatio='xMidYMid slice'>";
        Self {
            svg: svg.to_owned(),
            palette,
            sun: 0.0,
        }
    }

    /// Writing to a String cannot fail.
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).ok();
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }

    fn sky(&mut self, dice: &mut Dice, scene: usize) {
        let [top, middle, horizon] = self.palette.sky;
        let light = self.palette.light;
        self.sun = dice.between(240.0, 960.0);
        let (x, y, r) = (self.sun, dice.between(180.0, 420.0), dice.between(44.0, 86.0));
        self.push(format_args!(
            "<linearGradient id='s' x1='0' x2='0' y1='0' y2='1'><stop stop-color='{top}'/>\
             <stop offset='.45' stop-color='{middle}'/><stop offset='.75' stop-color='{horizon}'/></linearGradient>\
             <radialGradient id='g'><stop stop-color='{light}' stop-opacity='.8'/>\
             <stop offset='.35' stop-color='{light}' stop-opacity='.28'/>\
             <stop offset='.7' stop-color='{light}' stop-opacity='.07'/>\
             <stop offset='1' stop-color='{light}' stop-opacity='0'/></radialGradient>\
             <linearGradient id='m' x1='0' x2='0' y1='0' y2='1'><stop stop-color='{horizon}' stop-opacity='0'/>\
             <stop offset='.6' stop-color='{horizon}' stop-opacity='.55'/>\
             <stop offset='1' stop-color='{horizon}' stop-opacity='0'/></linearGradient>\
             <rect width='1200' height='900' fill='url(#s)'/>"
        ));
        if top.is_dark() {
            let mut stars = String::new();
            for _ in 0..90 {
                let size = dice.between(0.6, 2.4);
                let (x, y) = (dice.between(0.0, W), dice.unit() * dice.unit() * 520.0);
                write!(stars, "M{x:.0} {y:.0}h{size:.1}v{size:.1}h-{size:.1}Z").ok();
            }
            self.push(format_args!("<path d='{stars}' fill='#fff' opacity='.8'/>"));
        }
        self.push(format_args!(
            "<circle cx='{x:.0}' cy='{y:.0}' r='{:.0}' fill='url(#g)'/><circle cx='{x:.0}' cy='{y:.0}' r='{r:.0}' fill='{light}'/>",
            r * 4.6
        ));
        if scene == 1 || scene == 2 {
            self.birds(dice);
        }
    }

    fn birds(&mut self, dice: &mut Dice) {
        let (x, y) = (dice.between(150.0, 800.0), dice.between(120.0, 320.0));
        let dark = self.palette.near;
        for _ in 0..7 {
            let (x, y) = (x + dice.between(0.0, 260.0), y + dice.between(0.0, 110.0));
            let size = dice.between(7.0, 15.0);
            self.push(format_args!(
                "<path d='M{x:.0} {y:.0}q{0:.0}-{0:.0} {size:.0} 0q{0:.0}-{0:.0} {size:.0} 0' fill='none' \
                 stroke='{dark}' stroke-width='2.5' stroke-linecap='round' opacity='.7'/>",
                size / 2.0
            ));
        }
    }

    fn tone(&self, near: f64) -> Rgb {
        self.palette.far.mix(self.palette.near, near)
    }

    /// Everything below the line.
    fn land(&mut self, line: &[(f64, f64)], near: f64) {
        let mut path = String::from("M0 900");
        for (x, y) in line {
            write!(path, "L{x:.0} {y:.0}").ok();
        }
        let color = self.tone(near);
        self.push(format_args!("<path d='{path}V900Z' fill='{color}'/>"));
    }

    /// Lighter towards the ground, as in the distance.
    fn mist(&mut self, bottom: f64) {
        self.push(format_args!(
            "<rect y='{:.0}' width='1200' height='260' fill='url(#m)' opacity='.6'/>",
            bottom - 170.0
        ));
    }
}

/// A mountain line by halving: each middle is moved by less than the one before.
fn ridge(dice: &mut Dice, base: f64, rough: f64, decay: f64) -> Vec<(f64, f64)> {
    let mut heights = vec![
        base + dice.between(-0.5, 0.5) * rough,
        base + dice.between(-0.5, 0.5) * rough,
    ];
    let mut rough = rough;
    for _ in 0..7 {
        let mut finer = Vec::with_capacity(heights.len() * 2);
        for pair in heights.windows(2) {
            finer.push(pair[0]);
            finer.push((pair[0] + pair[1]) / 2.0 + dice.between(-1.0, 1.0) * rough);
        }
        finer.extend(heights.last());
        heights = finer;
        rough *= decay;
    }
    let step = W / (heights.len() - 1) as f64;
    let along = heights.into_iter().enumerate();
    along.map(|(at, y)| (at as f64 * step, y)).collect()
}

/// A soft line of two sines.
fn waves(dice: &mut Dice, base: f64, tall: f64) -> Vec<(f64, f64)> {
    let (first, second) = (dice.between(0.0, 6.3), dice.between(0.0, 6.3));
    let (slow, fast) = (dice.between(0.003, 0.007), dice.between(0.008, 0.014));
    (0..=60)
        .map(|at| {
            let x = f64::from(at) * W / 60.0;
            let y = (x * slow + first).sin() + 0.4 * (x * fast + second).sin();
            (x, base + y * tall)
        })
        .collect()
}

fn height_at(line: &[(f64, f64)], x: f64) -> f64 {
    let after = line.iter().position(|(at, _)| *at >= x);
    let index = after.unwrap_or(line.len() - 1);
    line[index].1
}

impl Rgb {
    fn mix(self, other: Self, share: f64) -> Self {
        let channel = |shift: u32| {
            let (from, to) = (self.0 >> shift & 0xff, other.0 >> shift & 0xff);
            let mixed = f64::from(from) + (f64::from(to) - f64::from(from)) * share;
            (mixed.round().clamp(0.0, 255.0) as u32) << shift
        };
        Self(channel(16) | channel(8) | channel(0))
    }

    fn is_dark(self) -> bool {
        (self.0 >> 16 & 0xff) + (self.0 >> 8 & 0xff) + (self.0 & 0xff) < 240
    }
}

impl std::fmt::Display for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:06x}", self.0)
    }
}
