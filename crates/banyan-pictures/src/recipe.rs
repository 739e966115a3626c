//! What a request wants, from its address and head alone.

use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL};

/// Others are made of these: what clients write into addresses does not decide how many variants there are.
const QUALITIES: [u8; 5] = [40, 55, 70, 85, 95];
/// What belongs to us in a query.
const OURS: [&str; 3] = ["w", "q", "fmt"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Avif,
    Webp,
    /// PNG where the picture has transparency.
    Jpeg,
}

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// In ascending order; at least one.
    pub widths: Vec<u32>,
    /// 1 to 100.
    pub quality: u8,
    /// That may be made.
    pub formats: Vec<Format>,
}

/// What is wanted of one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// One of the configuration's; `None`: as wide as it is.
    pub width: Option<u32>,
    pub quality: u8,
    /// That the client takes, best first. Empty: as it is.
    pub formats: Vec<Format>,
    /// Fields of the request that decided.
    pub vary: &'static str,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Avif => "avif",
            Self::Webp => "webp",
            Self::Jpeg => "jpeg",
        }
    }
}

impl Recipe {
    /// `?w=400&q=70&fmt=webp`, else `Sec-CH-Width` (or `Width`) and `Accept`. `None`: the client wants it as it is.
    pub fn of(settings: &Settings, query: Option<&str>, headers: &HeaderMap) -> Self {
        let value = |wanted: &str| {
            let pairs = query.unwrap_or_default().split('&');
            let mut found = pairs.filter_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted));
            found.next().map(|(_, value)| value)
        };
        let asked = value("w").or_else(|| {
            let hint = headers.get("sec-ch-width").or_else(|| headers.get("width"))?;
            hint.to_str().ok().map(str::trim)
        });
        let width = asked
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|width| *width > 0)
            .and_then(|width| allowed(&settings.widths, width));
        let quality = value("q")
            .and_then(|text| text.parse::<u8>().ok())
            .map_or(settings.quality, nearest);
        let named = value("fmt").and_then(named);
        let may = |format: &Format| settings.formats.contains(format);
        let (formats, by_accept) = match named {
            // AVIF takes its time: something is there meanwhile.
            Some(Format::Avif) => (vec![Format::Avif, Format::Webp, Format::Jpeg], false),
            Some(format) => (vec![format], false),
            None => (taken(headers), true),
        };
        let mut formats: Vec<Format> = formats.into_iter().filter(may).collect();
        // As wide as it is, in a format that everybody takes: that is what there is already.
        if by_accept && width.is_none() && value("q").is_none() {
            formats.retain(|format| *format != Format::Jpeg);
        }
        Self {
            width,
            quality,
            formats,
            vary: match (by_accept, value("w").is_some()) {
                (true, true) => "Accept",
                (true, false) => "Accept, Sec-CH-Width, Width",
                (false, true) => "",
                (false, false) => "Sec-CH-Width, Width",
            },
        }
    }

    /// The query that the app sees; `None`: none is left.
    pub fn rest_of(query: &str) -> Option<String> {
        let ours = |pair: &&str| !OURS.contains(&pair.split_once('=').map_or(*pair, |(name, _)| name));
        let rest: Vec<&str> = query.split('&').filter(ours).collect();
        let rest = rest.join("&");
        (!rest.is_empty()).then_some(rest)
    }

    /// What one of its formats is kept under, beside the source.
    pub fn name(&self, format: Format) -> String {
        let width = self.width.map_or(String::new(), |width| format!("w{width}"));
        format!("{width}q{}{}", self.quality, format.name())
    }
}

/// Whether an answer may be made into another one (RFC 9111 §5.2.2.6).
pub(crate) fn may_transform(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    !lines.into_iter().any(|line| {
        line.to_str()
            .is_ok_and(|line| line.to_ascii_lowercase().contains("no-transform"))
    })
}

/// The next width of the list; beyond it, the largest.
fn allowed(widths: &[u32], wanted: u32) -> Option<u32> {
    let enough = widths.iter().find(|width| **width >= wanted);
    enough.or(widths.last()).copied()
}

fn nearest(wanted: u8) -> u8 {
    let near = QUALITIES
        .into_iter()
        .min_by_key(|quality| quality.abs_diff(wanted));
    near.unwrap_or(85)
}

fn named(text: &str) -> Option<Format> {
    match text.to_ascii_lowercase().as_str() {
        "avif" => Some(Format::Avif),
        "webp" => Some(Format::Webp),
        "jpeg" | "jpg" => Some(Format::Jpeg),
        _ => None,
    }
}

/// `Accept` folded to three classes: AVIF, WebP, others. Only types named in full count: `image/*` says nothing of new ones.
fn taken(headers: &HeaderMap) -> Vec<Format> {
    let lines = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(','));
    let mut formats = Vec::new();
    let (mut avif, mut webp) = (false, false);
    for one in &mut types {
        let mut parts = one.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
        });
        avif |= !refused && kind.eq_ignore_ascii_case("image/avif");
        webp |= !refused && kind.eq_ignore_ascii_case("image/webp");
    }
    if avif {
        formats.push(Format::Avif);
    }
    if webp {
        formats.push(Format::Webp);
    }
    formats.push(Format::Jpeg);
    formats
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> Settings {
        Settings {
            widths: vec![320, 640, 1280],
            quality: 85,
            formats: vec![Format::Avif, Format::Webp, Format::Jpeg],
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                http::HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    fn told(query: &str, pairs: &[(&'static str, &'static str)]) -> String {
        let recipe = Recipe::of(&settings(), Some(query), &headers(pairs));
        let names: Vec<String> = recipe.formats.iter().map(|format| recipe.name(*format)).collect();
        format!("{} ({})", names.join(" "), recipe.vary)
    }

    const CHROME: (&str, &str) = ("accept", "image/avif,image/webp,image/apng,*/*;q=0.8");

    #[test]
    fn widths_are_of_the_list_and_qualities_few() {
        for (query, told_as) in [
            ("w=320", "w320q85jpeg (Accept)"),
            ("w=321&q=71", "w640q70jpeg (Accept)"),
            ("w=9999&q=100", "w1280q95jpeg (Accept)"),
            ("w=0", " (Accept)"),
            ("w=-1", " (Accept)"),
            ("w=99999999999", " (Accept)"),
            ("q=1", "q40jpeg (Accept, Sec-CH-Width, Width)"),
            ("", " (Accept, Sec-CH-Width, Width)"),
        ] {
            assert_eq!(told(query, &[("accept", "*/*")]), told_as, "{query}");
        }
    }

    #[test]
    fn formats_are_what_the_client_names_best_first() {
        assert_eq!(
            told("w=320", &[CHROME]),
            "w320q85avif w320q85webp w320q85jpeg (Accept)"
        );
        assert_eq!(
            told("", &[CHROME]),
            "q85avif q85webp (Accept, Sec-CH-Width, Width)"
        );
        let picky = ("accept", "image/avif;q=0, IMAGE/WEBP");
        assert_eq!(told("w=1", &[picky]), "w320q85webp w320q85jpeg (Accept)");
        assert_eq!(
            told("w=1&fmt=webp", &[("accept", "image/jpeg")]),
            "w320q85webp ()"
        );
        assert_eq!(
            told("w=1&fmt=avif", &[]),
            "w320q85avif w320q85webp w320q85jpeg ()"
        );
        assert_eq!(told("w=1&fmt=gif", &[]), "w320q85jpeg (Accept)");
        assert_eq!(told("fmt=jpg", &[]), "q85jpeg (Sec-CH-Width, Width)");
    }

    #[test]
    fn a_hint_counts_where_the_address_says_nothing() {
        let hint = ("sec-ch-width", "600");
        assert_eq!(told("", &[hint]), "w640q85jpeg (Accept, Sec-CH-Width, Width)");
        assert_eq!(told("w=320", &[hint]), "w320q85jpeg (Accept)");
    }

    #[test]
    fn the_app_sees_its_own_parameters_only() {
        for (whole, rest) in [
            ("w=1&v=2&q=3", Some("v=2")),
            ("w=1", None),
            ("w&ww=1", Some("ww=1")),
            ("a=%26&fmt=webp", Some("a=%26")),
        ] {
            assert_eq!(Recipe::rest_of(whole).as_deref(), rest, "{whole}");
        }
    }

    proptest! {
        /// However it is asked, the number of variants has a bound.
        #[test]
        fn variants_are_few(query in "[wqfmt=&0-9a-z%]{0,40}", accept in "[a-z/,;=.0-9]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            let recipe = Recipe::of(&settings(), Some(&query), &headers);
            prop_assert!(recipe.width.is_none_or(|width| settings().widths.contains(&width)));
            prop_assert!(QUALITIES.contains(&recipe.quality));
        }
    }
}
