//! Expansion of `$NAME`, rendering, placeholders.

use banyan_config::expand::{Unset, expand, variables};
use banyan_config::{Placeholder, RenderError, Template};

fn env(name: &str) -> Option<String> {
    (name == "PORT").then(|| "80$PORT".to_owned())
}

#[test]
fn names_are_expanded_once_and_dollars_stay() {
    assert_eq!(
        expand("a$PORT-${PORT}$$PORT $ $1 ${", &env),
        Ok("a80$PORT-80$PORT$PORT $ $1 ${".to_owned())
    );
    assert_eq!(expand("$NOPE", &env), Err(Unset("NOPE".to_owned())));
    assert_eq!(variables("$A ${B} $$C $1").collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn values_of_placeholders_are_not_expanded_again() {
    let template = Template::parse("{{data}}/$PORT").unwrap();
    let rendered = template.render_argument(&|_| Some("$PORT{{port}}".to_owned()), &|_| Some("1".to_owned()));
    assert_eq!(rendered, Ok("$PORT{{port}}/1".to_owned()));
}

#[test]
fn a_placeholder_without_value_is_named() {
    let template = Template::parse("{{port}}{{secret.A_b}}").unwrap();
    let secret = Placeholder::Secret("A_b".to_owned());
    assert_eq!(
        template.placeholders().collect::<Vec<_>>(),
        [Placeholder::Port, secret.clone()]
    );
    let value = |placeholder: &Placeholder| (*placeholder == Placeholder::Port).then(|| "1".to_owned());
    assert_eq!(template.render(&value), Err(RenderError::NoValue(secret)));
}

#[test]
fn every_placeholder_is_read_as_it_is_shown() {
    for placeholder in Placeholder::FIXED {
        assert_eq!(Placeholder::parse(&placeholder.to_string()), Some(placeholder));
    }
    assert_eq!(Placeholder::parse("secret.1"), None);
}
