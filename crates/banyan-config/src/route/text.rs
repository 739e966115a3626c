//! What the texts of a route must look like: the sound form, or what is wrong and what to write instead.

type Judged<T> = Result<T, (String, String)>;

/// `Example.org` → `example.org`.
pub(super) fn domain(text: &str) -> Judged<String> {
    let wrong = |help: &str| Err((format!("\"{text}\" is not a domain"), help.to_owned()));
    if text.contains("://") || text.contains('/') {
        return wrong("write the name alone: \"example.org\"; paths have keys of their own");
    }
    if text.contains(':') {
        return wrong("write it without the port: a route sees every port of the edge");
    }
    let name = text.to_ascii_lowercase();
    let rest = name.strip_prefix("*.").unwrap_or(&name);
    if rest.contains('*') {
        return wrong("`*` can only stand for whole names at the beginning: \"*.example.org\"");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !rest.split('.').all(label) {
        return wrong("write for example \"example.org\" or \"*.example.org\"; other alphabets as xn--…");
    }
    Ok(name)
}

pub(super) fn method(text: &str) -> Judged<String> {
    let upper = text.to_ascii_uppercase();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
        return Err((
            format!("\"{text}\" is not a method"),
            "write for example methods = [\"GET\", \"HEAD\"]".to_owned(),
        ));
    }
    if upper == text {
        return Ok(upper);
    }
    Err((
        format!("no request has the method \"{text}\": methods are in capitals"),
        format!("write \"{upper}\""),
    ))
}

/// Where a redirect leads: a path, or a URL; `{host}`, `{path}` and `{query}` are the request's.
pub(super) fn target(text: &str) -> Judged<()> {
    let known = ["{host}", "{path}", "{query}"];
    let bare = known
        .iter()
        .fold(text.to_owned(), |text, word| text.replace(word, ""));
    let wrong = |help: &str| Err((format!("a redirect cannot lead to \"{text}\""), help.to_owned()));
    if bare.contains(['{', '}']) {
        return wrong("known are {host}, {path} and {query}");
    }
    if !bare.bytes().all(|b| b.is_ascii_graphic()) {
        return wrong("URL-encode spaces and letters beyond ASCII");
    }
    let url = text.starts_with("https://") || text.starts_with("http://");
    let local = text.starts_with('/') && !text.starts_with("//");
    // `/{path}` would be `//…`: another host.
    if text.starts_with("/{") || !(url || local) {
        return wrong("begin with `/` or `https://`: \"https://{host}{path}{query}\"");
    }
    Ok(())
}

/// Fields that frame messages, name the client or are Banyan's own cannot be edited.
pub(super) fn editable(name: &str) -> Judged<()> {
    const FRAMING: [&str; 10] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err((
            format!("\"{name}\" cannot be a header's name"),
            "write for example x-frame-options".to_owned(),
        ));
    }
    if FRAMING.contains(&name)
        || name.starts_with("x-forwarded-")
        || name == "forwarded"
        || name == "x-request-id"
    {
        return Err((
            format!("header `{name}` cannot be edited"),
            "Banyan sets it itself: it frames messages, or tells the app who asks".to_owned(),
        ));
    }
    Ok(())
}
