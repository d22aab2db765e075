//! The text fields of an upload: options, and what is ignored.

use std::collections::BTreeMap;

use domain::{InvalidOption, OptionName, Options};

use crate::multipart::Charset;

/// The field in which a browser says in which charset it wrote the form (WHATWG HTML, "constructing the entry list").
const CHARSET_FIELD: &str = "_charset_";

/// The most bytes of an option's value; none needs half of them.
pub(crate) const MAX_VALUE_BYTES: usize = 64;

/// What the text fields said so far.
#[derive(Default)]
pub(super) struct Form {
    /// What was sent for each option: the last field of a name counts.
    texts: BTreeMap<OptionName, String>,
    /// The names of the fields that are no options, each once.
    pub(super) ignored: Vec<String>,
}

/// The field whose content arrives.
pub(super) enum Field {
    File,
    Option(OptionName, Vec<u8>),
    /// The name of the form's charset, or the beginning of what is none.
    Charset(Vec<u8>),
    Ignored,
}

impl Form {
    /// Begins a text field.
    pub(super) fn begin(&mut self, name: String) -> Field {
        if let Some(option) = OptionName::parse(&name) {
            return Field::Option(option, Vec::new());
        }
        if name == CHARSET_FIELD {
            return Field::Charset(Vec::new());
        }
        if !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
        Field::Ignored
    }

    /// Ends a field. What it tells of the charset of the parts that follow, if anything.
    ///
    /// An option without a value counts as if its field were absent: browsers send inputs that were left empty, too.
    pub(super) fn end(&mut self, field: Field) -> Option<Charset> {
        match field {
            Field::Option(name, value) => {
                let text = String::from_utf8_lossy(&value).into_owned();
                if !text.trim().is_empty() {
                    self.texts.insert(name, text);
                }
                None
            }
            Field::Charset(label) => Charset::of(str::from_utf8(&label).ok()?),
            Field::File | Field::Ignored => None,
        }
    }

    /// The options of the whole form, judged once and together: what one field says may depend on one that follows.
    pub(super) fn options(&self) -> Result<Options, InvalidOption> {
        Options::from_pairs(&self.texts)
    }
}

impl Field {
    /// Takes bytes of a text field; those of an ignored one are dropped.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), InvalidOption> {
        match self {
            Self::Option(name, value) if value.len() + bytes.len() > MAX_VALUE_BYTES => {
                return Err(InvalidOption {
                    name: *name,
                    expected: name.expected(),
                });
            }
            Self::Option(_, value) => value.extend_from_slice(bytes),
            // No label is as long as that.
            Self::Charset(label) => label.extend(bytes.iter().take(MAX_VALUE_BYTES - label.len())),
            Self::File | Self::Ignored => {}
        }
        Ok(())
    }
}
