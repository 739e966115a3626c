//! `$NAME` and `${NAME}` in the arguments of a command: the one thing of a shell that commands need.
//!
//! `$$` is a literal dollar, and so is one that no name follows.

use crate::secrets::is_variable_name;

/// A command names a variable that its environment does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`${0}` is not set in the environment of this command")]
pub struct Unset(pub String);

/// A shell would put nothing where an unset variable is named; here that is an error.
pub fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Unset> {
    let mut expanded = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => expanded.push_str(text),
            Piece::Variable(name) => expanded.push_str(&env(name).ok_or_else(|| Unset(name.to_owned()))?),
        }
    }
    Ok(expanded)
}

/// The names that [`expand`] would ask for.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Text(_) => None,
    })
}

enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = next_piece(rest)?;
        rest = after;
        Some(piece)
    })
}

fn next_piece(rest: &str) -> Option<(Piece<'_>, &str)> {
    if rest.is_empty() {
        return None;
    }
    let Some(after) = rest.strip_prefix('$') else {
        let (text, after) = rest.split_at(rest.find('$').unwrap_or(rest.len()));
        return Some((Piece::Text(text), after));
    };
    if let Some(after) = after.strip_prefix('$') {
        return Some((Piece::Text("$"), after));
    }
    if let Some((name, after)) = after.strip_prefix('{').and_then(|braced| braced.split_once('}'))
        && is_variable_name(name)
    {
        return Some((Piece::Variable(name), after));
    }
    let end = after
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(after.len());
    if is_variable_name(&after[..end]) {
        Some((Piece::Variable(&after[..end]), &after[end..]))
    } else {
        Some((Piece::Text("$"), after))
    }
}
