//! The page: one document of the small files in `web/`, with nothing from elsewhere.

pub(super) const PAGE: &str = concat!(
    include_str!("web/head.html"),
    "<style>\n",
    include_str!("web/base.css"),
    include_str!("web/map.css"),
    include_str!("web/traces.css"),
    "</style>\n",
    include_str!("web/body.html"),
    "<script>\n",
    include_str!("web/format.js"),
    include_str!("web/map.js"),
    include_str!("web/charts.js"),
    include_str!("web/traces.js"),
    include_str!("web/app.js"),
    "</script>\n</body>\n</html>\n",
);

/// Nothing is loaded from elsewhere, and no other page shows it within itself.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let elsewhere = ["src=", "@import", "url(", "https://"];
        for outside in elsewhere {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        // The name space of SVG is a name, not an address.
        assert_eq!(PAGE.matches("http://").count(), 1);
        assert!(PAGE.contains("http://www.w3.org/2000/svg"));
    }
}
