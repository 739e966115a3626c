//! How large an instance's answer may be. Without a limit of that kind a request pays one branch.

use http::header::HeaderMap;

use crate::respond::Refusal;

/// In bytes; `None`: only the bounds of the codec (128 KiB and 128 lines of header).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerLimits {
    pub header: Option<u32>,
    pub body: Option<u64>,
}

impl AnswerLimits {
    /// Of an answer's head. `length`: of its body, if it says so; others are counted on their way.
    pub(crate) fn judge(self, headers: &HeaderMap, length: Option<u64>) -> Result<(), Refusal> {
        if let Some(most) = self.header {
            // As lines of HTTP/1.1: a colon, a space and a line end.
            let lines = headers
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len() + 4);
            if lines.sum::<usize>() > most as usize {
                return Err(Refusal::AnswerTooLarge);
            }
        }
        match (self.body, length) {
            (Some(most), Some(length)) if length > most => Err(Refusal::AnswerTooLarge),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn header_lines_and_a_known_length_are_judged_exactly() {
        let mut headers = HeaderMap::new();
        // 4 + 6 + 4 bytes each.
        headers.append("name", HeaderValue::from_static("value1"));
        headers.append("name", HeaderValue::from_static("value2"));
        let limits = |header, body| AnswerLimits { header, body };
        for (limits, length, fits) in [
            (limits(None, None), Some(u64::MAX), true),
            (limits(Some(28), None), None, true),
            (limits(Some(27), None), None, false),
            (limits(None, Some(10)), Some(10), true),
            (limits(None, Some(10)), Some(11), false),
            (limits(None, Some(10)), None, true),
        ] {
            assert_eq!(
                limits.judge(&headers, length).is_ok(),
                fits,
                "{limits:?} {length:?}"
            );
        }
    }
}
