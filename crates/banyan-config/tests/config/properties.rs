//! What holds for any input.

use std::path::Path;
use std::time::Duration;

use banyan_config::units::{format_bytes, format_duration, parse_bytes, parse_duration};
use banyan_config::{DatabaseAddress, FileText, Placeholder, Source, Sources, Template, load};
use proptest::prelude::*;

fn load_bytes(main: &[u8], overlay: Option<&[u8]>, file: &[u8]) {
    let files = |_: &Path| Ok(FileText::new(file, 0o600));
    let sources = Sources {
        main: Source::new("banyan.toml", main),
        overlay: overlay.map(|bytes| Source::new("overlay.toml", bytes)),
        files: &files,
        certificates: &|_, _| Ok(Vec::new()),
    };
    match load(&sources) {
        Ok(loaded) => drop(banyan_config::render_resolved(&loaded.config, true)),
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            assert!(!errors.to_string().is_empty());
        }
    }
}

/// Pieces of real files in any order reach deeper than random bytes.
fn scraps() -> impl Strategy<Value = String> {
    let scraps = [
        "version = 1\n",
        "name = \"shop\"\n",
        "[app]\n",
        "secrets = \"s\"\n",
        "[app.env]\n",
        "A = \"{{secret.B}}\"\n",
        "[process.web]\n",
        "command = \"web $PORT '{{port}}'\"\n",
        "count = 3\n",
        "max = 2\n",
        "ready = \"/x\"\n",
        "[process.web.ready]\n",
        "path = 3\n",
        "[edge]\n",
        "port = 80\n",
        "timeouts = {header = \"1\"}\n",
        "[database]\n",
        "url = \"postgres://{{secret.B}}\"\n",
        "files = [{from = \"a\", to = \"b\"}]\n",
        "hosts = [\"é\", 1]\n",
        "[[edge]]\n",
        "web: a && b\n",
        "B=c\n",
        "\"",
        "{{",
        "=",
        "\n",
        "[",
        "]",
        "'",
        "é",
        "\\",
        "a.b.c = 1\n",
        "\u{0}",
    ];
    proptest::collection::vec(proptest::sample::select(scraps.to_vec()), 0..25)
        .prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_loaded_or_refused(main: Vec<u8>, file: Vec<u8>) {
        load_bytes(&main, None, &file);
    }

    #[test]
    fn any_mixture_of_real_pieces_is_loaded_or_refused(main in scraps(), overlay in scraps(), file in scraps()) {
        load_bytes(main.as_bytes(), None, file.as_bytes());
        load_bytes(main.as_bytes(), Some(overlay.as_bytes()), file.as_bytes());
        load_bytes(format!("version = 1\nname = \"x\"\n{main}").as_bytes(), None, file.as_bytes());
    }

    #[test]
    fn durations_are_read_as_they_are_written(ms in 0u64..u64::MAX / 2) {
        let duration = Duration::from_millis(ms);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
    }

    #[test]
    fn sizes_are_read_as_they_are_written(bytes: u64) {
        prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
    }

    #[test]
    fn text_without_double_braces_renders_to_itself(text in "[^{]*") {
        let template = Template::parse(&text).unwrap();
        prop_assert_eq!(template.render(&|_| None), Ok(text));
    }

    #[test]
    fn a_value_is_inserted_as_it_is(before in "[^{$]*", value in "\\PC*", after in "[^{$}]*") {
        let template = Template::parse(&format!("{before}{{{{ secret.A }}}}{after}")).unwrap();
        let values = |placeholder: &Placeholder| {
            (*placeholder == Placeholder::Secret("A".to_owned())).then(|| value.clone())
        };
        let expected = format!("{before}{value}{after}");
        prop_assert_eq!(template.render(&values), Ok(expected.clone()));
        prop_assert_eq!(template.render_argument(&values, &|_| None), Ok(expected));
    }

    #[test]
    fn any_text_is_a_template_or_refused_in_place(text in "[ a-z.{}$é\n]{0,40}") {
        if let Err(error) = Template::parse(&text) {
            prop_assert!(text.get(error.range).is_some());
        }
    }

    #[test]
    fn database_urls_carry_any_text(
        user in "\\PC{1,8}", password in "\\PC{0,12}", name in "\\PC{1,8}", host in "[a-z.-]{1,10}|::1", port in 1u16..
    ) {
        let address = DatabaseAddress { host, port, user, password, name, options: None };
        prop_assert_eq!(DatabaseAddress::parse(&address.url()), Ok(address));
    }
}
