//! The text fields of an upload: options, and what is ignored.

use std::collections::BTreeMap;

use domain::{InvalidOption, OptionName, Options};

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
    Ignored,
}

impl Form {
    /// Begins a text field.
    pub(super) fn begin(&mut self, name: String) -> Field {
        if let Some(option) = OptionName::parse(&name) {
            return Field::Option(option, Vec::new());
        }
        if !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
        Field::Ignored
    }

    /// Ends a field.
    pub(super) fn end(&mut self, field: Field) {
        if let Field::Option(name, value) = field {
            let text = String::from_utf8_lossy(&value).into_owned();
            self.texts.insert(name, text);
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
        let Self::Option(name, value) = self else {
            return Ok(());
        };
        if value.len() + bytes.len() > MAX_VALUE_BYTES {
            return Err(InvalidOption {
                name: *name,
                expected: name.expected(),
            });
        }
        value.extend_from_slice(bytes);
        Ok(())
    }
}
