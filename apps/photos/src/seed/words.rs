//! Texts from lists of words.

use crate::dice::Dice;
use crate::media::DEMO_PICTURES;

pub(super) struct PostText {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) body: String,
    pub(super) tags: Vec<&'static str>,
    pub(super) picture: usize,
}

const COLORS: [&str; 20] = [
    "amber", "birch", "cedar", "coral", "cobalt", "dusty", "ember", "fern", "frost", "hazel", "indigo",
    "ivory", "juniper", "lunar", "maple", "misty", "ochre", "sable", "teal", "willow",
];
const ANIMALS: [&str; 20] = [
    "badger", "crane", "finch", "fox", "gecko", "hare", "heron", "ibis", "kestrel", "lynx", "marten", "newt",
    "otter", "owl", "plover", "raven", "seal", "stoat", "swift", "wren",
];
const BIOS: [&str; 10] = [
    "Up before the sun, mostly for the light.",
    "One lens, too many hills.",
    "I photograph weather and what it does to people.",
    "Film on Sundays, pixels the rest of the week.",
    "Looking for quiet places with bad reception.",
    "Walks slowly, stops often.",
    "Maps, boots, thermos, camera.",
    "Mostly harmless landscapes.",
    "Collecting horizons.",
    "Night owl with a tripod.",
];
/// Words of the picture's kind (see `media::scene`): mountains, sea, dunes, forest, city, balloons.
const PLACES: [[&str; 5]; 6] = [
    [
        "the high pass",
        "the north ridge",
        "the upper valley",
        "the old summit hut",
        "the glacier path",
    ],
    [
        "the outer bay",
        "the harbour mouth",
        "the long beach",
        "the lighthouse rocks",
        "the ferry",
    ],
    [
        "the great dune",
        "the salt flats",
        "the red sands",
        "the caravan road",
        "the dry river",
    ],
    [
        "the pine slope",
        "the fire road",
        "the lake trail",
        "the hollow",
        "the ranger's cabin",
    ],
    [
        "the roof terrace",
        "the river quarter",
        "the last tram",
        "the east bridge",
        "the hotel window",
    ],
    [
        "the launch field",
        "the vineyard hills",
        "the festival",
        "the open basket",
        "the meadow",
    ],
];
const TAGS: [[&str; 4]; 6] = [
    ["mountains", "hiking", "alpine", "ridges"],
    ["sea", "sailing", "coast", "horizon"],
    ["desert", "sand", "minimal", "heat"],
    ["forest", "mist", "trees", "quiet"],
    ["city", "night", "skyline", "windows"],
    ["balloons", "sky", "festival", "colour"],
];
const MOODS: [&str; 5] = ["goldenhour", "longexposure", "wideangle", "firstlight", "weekend"];
const OPENINGS: [&str; 10] = [
    "First light over",
    "An hour at",
    "Last evening at",
    "Waiting for the wind at",
    "Nobody else at",
    "Back to",
    "Half past five at",
    "The slow way to",
    "Clear air above",
    "A postcard from",
];
const REMARKS: [&str; 8] = [
    "The forecast said rain. The forecast was wrong.",
    "Worth every minute of the climb.",
    "Cold hands, warm colours.",
    "I nearly left the camera at home.",
    "Five frames, and this was the second.",
    "The light lasted three minutes.",
    "Stayed until the battery gave up.",
    "Coming back with a longer lens.",
];
const STORIES: [&str; 8] = [
    "We started in the dark and reached the spot just as the colours began to turn. For a while nothing moved, then everything did.",
    "I had this corner on my list for two years. What the map does not show is how quiet it is when the wind drops.",
    "Shot on a tripod at the lowest sensitivity, a single exposure, with a little warmth added afterwards. No filters were harmed.",
    "There is a bench a few steps to the left. I recommend it, and a thermos.",
    "The plan was to be somewhere else entirely, but a closed road is sometimes good advice.",
    "It took four visits to get this sky. The other three made good stories, and no pictures.",
    "If you go, go early, and take the path on the left at the fork. The right one is longer and has geese.",
    "Someone asked what I was waiting for. A minute later they stopped asking.",
];
const COMMENTS: [&str; 16] = [
    "That light!",
    "Where exactly is this?",
    "The colours are unreal.",
    "I was there last year, and it rained for three days.",
    "Straight onto my list.",
    "What lens did you use?",
    "This one deserves a print.",
    "So calm.",
    "The composition is perfect.",
    "Now I want to leave the office.",
    "Beautiful work, as always.",
    "How long did you wait for this?",
    "I can almost feel the wind.",
    "My favourite of yours so far.",
    "Those layers, wow.",
    "Saved for a grey Monday.",
];

/// Different for each `at`: the number follows when the words run out.
pub(super) fn username(at: usize) -> String {
    let pairs = COLORS.len() * ANIMALS.len();
    // A step without common divisor with the number of pairs visits each pair once.
    let pair = at * 77 % pairs;
    let name = format!("{}_{}", COLORS[pair % COLORS.len()], ANIMALS[pair / COLORS.len()]);
    match at / pairs {
        0 => name,
        round => format!("{name}_{}", round + 1),
    }
}

pub(super) fn bio(dice: &mut Dice) -> String {
    (*dice.pick(&BIOS)).to_owned()
}

pub(super) fn comment(dice: &mut Dice) -> String {
    (*dice.pick(&COMMENTS)).to_owned()
}

pub(super) fn post(dice: &mut Dice, seed: u64, at: usize) -> PostText {
    let offset = usize::try_from(seed % 89).unwrap_or(0) * 7;
    let picture = (at + offset) % DEMO_PICTURES;
    let kind = picture * 5 % 6;
    let first = dice.below(4);
    let mut tags = vec![TAGS[kind][first], TAGS[kind][(first + 1 + dice.below(3)) % 4]];
    if dice.below(2) == 0 {
        tags.push(*dice.pick::<&str>(&MOODS));
    }
    let story = dice.below(STORIES.len());
    let second = (story + 1 + dice.below(STORIES.len() - 1)) % STORIES.len();
    PostText {
        title: format!("{} {}", dice.pick(&OPENINGS), dice.pick(&PLACES[kind])),
        description: (*dice.pick(&REMARKS)).to_owned(),
        body: format!("{}\n\n{}", STORIES[story], STORIES[second]),
        tags,
        picture,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_different() {
        let names: std::collections::HashSet<String> = (0..2_000).map(username).collect();
        assert_eq!(names.len(), 2_000);
    }
}
