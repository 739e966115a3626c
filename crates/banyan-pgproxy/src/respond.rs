//! The one place that turns failures of the proxy into PostgreSQL's errors: SQLSTATE, sentence, hint, rule.
