//! `GET /media/demo/{n}.svg` and `/media/demo/face-{n}.svg`: pictures for the seeded posts and users, drawn from their
//! number, so that a fresh install has something to show without any file.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::{scene, serve};
use crate::api::PathOf;
use crate::error::ApiError;

/// Numbers from 0 to this are drawn.
pub(crate) const DEMO_PICTURES: usize = 960;

pub(super) async fn picture(PathOf(name): PathOf<String>) -> Result<Response, ApiError> {
    let svg = draw(&name).ok_or_else(|| ApiError::not_found("photo"))?;
    let mut response = svg.into_response();
    let headers = response.headers_mut();
    serve::describe(headers, "image/svg+xml");
    // A new version of the app may draw it otherwise.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=86400"),
    );
    Ok(response)
}

fn draw(name: &str) -> Option<String> {
    let name = name.strip_suffix(".svg")?;
    let number = |text: &str| {
        text.parse()
            .ok()
            .filter(|number: &usize| *number < DEMO_PICTURES && text == number.to_string())
    };
    match name.strip_prefix("face-") {
        Some(face) => number(face).map(scene::face),
        None => number(name).map(scene::landscape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_differ_by_number_and_stay_the_same() {
        assert_eq!(draw("7.svg"), draw("7.svg"));
        let all: std::collections::HashSet<String> = (0..DEMO_PICTURES)
            .filter_map(|n| draw(&format!("{n}.svg")))
            .collect();
        assert_eq!(all.len(), DEMO_PICTURES);
        assert!(
            all.iter()
                .all(|svg| svg.starts_with("<svg") && svg.ends_with("</svg>"))
        );
        assert!(all.iter().all(|svg| svg.len() < 24_000));
        assert!(draw("face-3.svg").is_some());
    }

    #[test]
    fn other_names_are_not_drawn() {
        for name in [
            "",
            "1",
            "1.png",
            "960.svg",
            "-1.svg",
            "01.svg",
            "+1.svg",
            "face-.svg",
        ] {
            assert!(draw(name).is_none(), "{name}");
        }
    }
}
