//! The way from the root to a value, kept on the stack while decoding and written out only for a fault.

/// One collection on the way, and what its type knows.
#[derive(Clone, Copy)]
pub(super) struct Level<'a> {
    /// The level above.
    pub up: Option<&'a Level<'a>>,
    /// How this one hangs from it.
    pub label: Label<'a>,
    /// The type's name in k8s-openapi, "" for lists and maps.
    pub name: &'static str,
    /// The type's fields, none for lists and maps.
    pub known: &'static [&'static str],
}

/// How a value hangs from its collection.
#[derive(Clone, Copy)]
pub(super) enum Label<'a> {
    /// It does not: the document.
    Root,
    /// A struct's field.
    Field(&'a str),
    /// A list's item.
    Index(usize),
    /// A map's key.
    Key(&'a str),
}

/// The path of what hangs from `up` by `label`, as Kubernetes writes it (`spec.containers[0].resources.limits[cpu]`).
pub(super) fn write(up: Option<&Level<'_>>, label: Label<'_>) -> String {
    let mut labels = vec![label];
    let mut level = up;
    while let Some(l) = level {
        labels.push(l.label);
        level = l.up;
    }
    let mut path = String::new();
    for label in labels.iter().rev() {
        match label {
            Label::Root => {}
            Label::Field(name) if path.is_empty() => path.push_str(name),
            Label::Field(name) => path.push_str(&format!(".{name}")),
            Label::Index(i) => path.push_str(&format!("[{i}]")),
            Label::Key(key) => path.push_str(&format!("[{key}]")),
        }
    }
    path
}

impl Level<'_> {
    /// This level's own path.
    pub fn path(&self) -> String {
        write(self.up, self.label)
    }
}
