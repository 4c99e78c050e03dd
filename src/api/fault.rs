//! What is wrong with a manifest, and where: the one shape in which decoding, validation and the support table report.

use serde::Serialize;

/// How bad a [`Fault`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is used; the user should change something (an old apiVersion, a field not honoured yet).
    Warning,
    /// Passed over on purpose: a kind or a field that means nothing on a node alone.
    Info,
}

/// One thing said about one place of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1; 0 where no place is known.
    pub line: usize,
    /// Column in characters, from 1; 0 where no place is known.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// The field's path as Kubernetes writes it (`spec.template.spec.containers[0].image`), "" for the document.
    pub field: String,
    /// What is wrong, why, and what to do.
    pub message: String,
}

/// A fault before its place is looked up: what validation returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// How bad it is.
    pub severity: Severity,
    /// The field's path as Kubernetes writes it.
    pub field: String,
    /// Kubernetes' own words where it has them (`Required value`, `Invalid value: "x": …`).
    pub message: String,
}

impl FieldFault {
    /// An error at `field`.
    pub fn error(field: impl Into<String>, message: impl Into<String>) -> FieldFault {
        FieldFault { severity: Severity::Error, field: field.into(), message: message.into() }
    }

    /// A warning at `field`.
    pub fn warning(field: impl Into<String>, message: impl Into<String>) -> FieldFault {
        FieldFault { severity: Severity::Warning, field: field.into(), message: message.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        match (self.line, self.file.as_str()) {
            (0, "") => write!(f, "{severity}: ")?,
            (0, file) => write!(f, "{file}: {severity}: ")?,
            (line, file) => write!(f, "{file}:{line}:{}: {severity}: ", self.column)?,
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
