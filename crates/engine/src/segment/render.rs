//! Output lines, byte for byte as the service writes them.
//!
//! `{"input": <line>, "output": {"usersList": [<ids>]}, "error": <text or null>}` and a newline.
//! The input is repeated as it came; a line that is no JSON object becomes a JSON string.

/// Ids of users as JSON strings, made once.
#[derive(Debug)]
pub(crate) struct UserFragments {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl UserFragments {
    pub(crate) fn new(ids: &[String]) -> Self {
        let mut bytes = Vec::with_capacity(ids.iter().map(|id| id.len() + 2).sum());
        let mut starts = Vec::with_capacity(ids.len() + 1);
        starts.push(0);
        for id in ids {
            push_json_string(&mut bytes, id);
            starts.push(bytes.len());
        }
        UserFragments { bytes, starts }
    }

    fn of(&self, user: u32) -> &[u8] {
        let user = user as usize;
        &self.bytes[self.starts[user]..self.starts[user + 1]]
    }
}

/// Writes what follows the input in a line with a ranking.
pub(crate) fn push_ranking_tail(
    line: &mut Vec<u8>,
    users: impl Iterator<Item = u32>,
    fragments: &UserFragments,
    documented: bool,
) {
    line.extend_from_slice(b", \"output\": {\"usersList\": ");
    let start = line.len();
    line.push(b'[');
    for (index, user) in users.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend_from_slice(fragments.of(user));
    }
    line.push(b']');
    if documented {
        let end = line.len();
        line.extend_from_slice(b", \"recommendedUsers\": ");
        line.extend_from_within(start..end);
    }
    line.extend_from_slice(b"}, \"error\": null}\n");
}

/// Writes what follows the input in a line with an error.
pub(crate) fn push_error_tail(line: &mut Vec<u8>, error: &str, documented: bool) {
    line.extend_from_slice(b", \"output\": {\"usersList\": []");
    if documented {
        line.extend_from_slice(b", \"recommendedUsers\": []");
    }
    line.extend_from_slice(b"}, \"error\": ");
    push_json_string(line, error);
    line.extend_from_slice(b"}\n");
}

/// Writes the beginning of a line: the input as it came, or as a string if it is no object.
pub(crate) fn push_input(line: &mut Vec<u8>, input: &[u8], is_object: bool) {
    line.extend_from_slice(b"{\"input\": ");
    if is_object {
        line.extend_from_slice(input);
    } else {
        push_json_string(line, &String::from_utf8_lossy(input));
    }
}

/// A JSON string: only quotes, backslashes and control characters are escaped.
fn push_json_string(target: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    serde_json::to_writer(target, text).expect("strings are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_services_bytes() {
        let fragments = UserFragments::new(&["7".into(), "a\"b\\c\n".into(), "日本".into()]);
        let mut line = Vec::new();
        push_input(&mut line, br#"{"itemId":"1"}"#, true);
        push_ranking_tail(&mut line, [2, 0, 1].into_iter(), &fragments, false);
        push_input(&mut line, b"no \"json\"\xff", false);
        push_error_tail(&mut line, "User error: x", false);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"input\": {\"itemId\":\"1\"}, \"output\": {\"usersList\": [\"日本\",\"7\",\"a\\\"b\\\\c\\n\"]}, \"error\": null}\n\
             {\"input\": \"no \\\"json\\\"\u{fffd}\", \"output\": {\"usersList\": []}, \"error\": \"User error: x\"}\n"
        );
    }

    #[test]
    fn the_documented_form_has_the_list_twice() {
        let fragments = UserFragments::new(&["7".into()]);
        let mut line = Vec::new();
        push_ranking_tail(&mut line, [0].into_iter(), &fragments, true);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            ", \"output\": {\"usersList\": [\"7\"], \"recommendedUsers\": [\"7\"]}, \"error\": null}\n"
        );
    }
}
