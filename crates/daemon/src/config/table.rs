//! A TOML table, read key by key, so that every error in a file is reported at once, with its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The faults of a text, in the order in which they were found.
#[derive(Debug)]
pub struct Faults<'a> {
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Faults<'a> {
    /// No faults yet.
    pub fn of(text: &'a str) -> Faults<'a> {
        Faults { text, found: Vec::new() }
    }

    /// Something is wrong at byte `at` of the text.
    pub fn add(&mut self, at: usize, what: impl Into<String>) {
        self.found.push((line(self.text, at), what.into()));
    }

    /// Something is missing, or wrong as a whole.
    pub fn add_whole(&mut self, what: impl Into<String>) {
        self.found.push((0, what.into()));
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many were found.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// The faults by line, those without one last: `line 3: …`.
    pub fn sorted(mut self) -> Vec<String> {
        self.found.sort_by_key(|(line, _)| if *line == 0 { usize::MAX } else { *line });
        let shown = |(line, what)| if line == 0 { what } else { format!("line {line}: {what}") };
        self.found.into_iter().map(shown).collect()
    }
}

/// The line, from 1, of byte `at`.
pub fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Keys of a table that are not read yet.
#[derive(Debug)]
pub struct Table<'a> {
    prefix: String,
    /// Where it begins, in bytes.
    at: usize,
    keys: Vec<&'static str>,
    left: DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The whole of a text; its syntax errors go to `faults`.
    pub fn parse(text: &'a str, faults: &mut Faults) -> Table<'a> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            faults.add(at, error.message().replace('\n', ", "));
        }
        Table { prefix: String::new(), at: 0, keys: Vec::new(), left: table.into_inner() }
    }

    /// The table of this name; an empty one where there is none.
    pub fn table(&mut self, key: &'static str, faults: &mut Faults) -> Table<'a> {
        let mut table = self.inner(key, 0, DeTable::new());
        if let Some(value) = self.take(key) {
            let at = value.span().start;
            table.at = at;
            match value.into_inner() {
                DeValue::Table(inner) => table.left = inner,
                other => faults.add(
                    at,
                    format!("{}{key} is {}: write a table [{key}]", self.prefix, shown(&other)),
                ),
            }
        }
        table
    }

    /// The tables `[[key]]`.
    pub fn tables(&mut self, key: &'static str, faults: &mut Faults) -> Vec<Table<'a>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let (at, name) = (value.span().start, self.name(key));
        let remedy = format!("write a table [[{name}]] for each one");
        let DeValue::Array(members) = value.into_inner() else {
            faults.add(at, format!("{name} is none: {remedy}"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for member in members {
            let at = member.span().start;
            match member.into_inner() {
                DeValue::Table(inner) => tables.push(self.inner(key, at, inner)),
                other => faults.add(at, format!("{name} has {}: {remedy}", shown(&other))),
            }
        }
        tables
    }

    fn inner(&self, key: &str, at: usize, left: DeTable<'a>) -> Table<'a> {
        Table { prefix: format!("{}.", self.name(key)), at, keys: vec![], left }
    }

    /// Whether a key exists and was not read yet.
    pub fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// The full name of a key.
    pub fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Where it begins, in bytes of the text.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads a key, if it exists. The error of `read` is what follows `KEY is VALUE: `.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        faults: &mut Faults,
        read: impl FnOnce(&DeValue) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let refused = |remedy: String| {
            let name = format!("{}{key}", self.prefix);
            faults
                .add(value.span().start, format!("{name} is {}: {remedy}", shown(value.get_ref())));
        };
        read(value.get_ref()).map_err(refused).ok()
    }

    /// Reads each member of a list; each one that is refused is a fault. `read` also gets the members
    /// before it.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        faults: &mut Faults,
        mut read: impl FnMut(&DeValue, &[T]) -> Result<T, String>,
    ) -> Vec<T> {
        let name = format!("{}{key}", self.prefix);
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(members) = value.get_ref().as_array() else {
            let shown = shown(value.get_ref());
            faults.add(value.span().start, format!("{name} is {shown}: write a list, as [\"…\"]"));
            return Vec::new();
        };
        let mut list = Vec::new();
        for member in members {
            match read(member.get_ref(), &list) {
                Ok(read) => list.push(read),
                Err(remedy) => faults.add(
                    member.span().start,
                    format!("{name} has {}: {remedy}", shown(member.get_ref())),
                ),
            }
        }
        list
    }

    /// Every key that was not read is unknown: a fault.
    pub fn finish(self, faults: &mut Faults) {
        for (key, _) in &self.left {
            let name = format!("{}{}", self.prefix, key.get_ref());
            let keys = self.keys.join(", ");
            faults.add(key.span().start, format!("{name} is no key: write one of {keys}"));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.keys.push(key);
        self.left.remove(key)
    }
}

/// A value in an error: texts and numbers as they are, others by their kind.
fn shown(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", short(text)),
        DeValue::Integer(number) => short(&number.to_string()).to_owned(),
        DeValue::Float(number) => short(&number.to_string()).to_owned(),
        DeValue::Boolean(it) => it.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// At most 100 bytes of a text.
fn short(text: &str) -> &str {
    let end = (0..=100).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end.min(text.len())).unwrap_or(text)
}
