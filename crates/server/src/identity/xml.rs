//! Answers as XML documents, escaped by construction.

/// Elements one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Xml(String);

impl Xml {
    /// Adds an element with text.
    pub(super) fn text(mut self, name: &str, text: &str) -> Self {
        self.0
            .push_str(&format!("<{name}>{}</{name}>", escaped(text)));
        self
    }

    /// Adds an element with text, if there is one.
    pub(super) fn optional(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// Adds an element with elements in it.
    pub(super) fn nest(mut self, name: &str, inner: Xml) -> Self {
        self.0.push_str(&format!("<{name}>{}</{name}>", inner.0));
        self
    }

    /// Adds a list: `<name><member>…</member>…</name>`.
    pub(super) fn list(self, name: &str, members: impl IntoIterator<Item = Xml>) -> Self {
        let inner = members
            .into_iter()
            .fold(Xml::default(), |all, one| all.nest("member", one));
        self.nest(name, inner)
    }

    /// Adds a list of plain texts.
    pub(super) fn texts<'t>(self, name: &str, members: impl IntoIterator<Item = &'t str>) -> Self {
        let inner = members
            .into_iter()
            .fold(Xml::default(), |all, one| all.text("member", one));
        self.nest(name, inner)
    }
}

/// The document of a request that was done.
pub(super) fn response(action: &str, space: &str, result: Option<Xml>, request_id: &str) -> String {
    let result = result.map_or_else(Xml::default, |result| {
        Xml::default().nest(&format!("{action}Result"), result)
    });
    let id = Xml::default().text("RequestId", request_id);
    let inner = result.nest("ResponseMetadata", id);
    format!(
        "<{action}Response xmlns=\"{space}\">{}</{action}Response>",
        inner.0
    )
}

/// The document of a request that was not done.
pub(super) fn error(
    space: &str,
    status: u16,
    code: &str,
    message: &str,
    request_id: &str,
) -> String {
    let fault = if status >= 500 { "Receiver" } else { "Sender" };
    let error = Xml::default()
        .text("Type", fault)
        .text("Code", code)
        .text("Message", message);
    let inner = Xml::default()
        .nest("Error", error)
        .text("RequestId", request_id);
    format!(
        "<ErrorResponse xmlns=\"{space}\">{}</ErrorResponse>",
        inner.0
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // What XML 1.0 cannot carry would make the whole document unreadable.
            control if control.is_control() && !matches!(control, '\t' | '\n' | '\r') => {
                out.push('\u{fffd}');
            }
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
    out
}
