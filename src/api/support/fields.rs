//! An object's fields against the table, as its text is read: only what the table has something to say of is looked at as a value.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Row, row};
use crate::api::fault::FieldFault;

/// Adds a fault for every field below `spec` in this Kubernetes JSON that the agent does not honour, in their order.
pub(super) fn walk(json: &[u8], owner: &'static str, faults: &mut Vec<FieldFault>) {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut path = String::new();
    if let Err(cause) = reader.deserialize_map(Whole { owner, path: &mut path, faults }) {
        // Not what this program has written itself; if it came to that, nothing would be known of the rest.
        faults.push(FieldFault::error(path, format!("the object cannot be checked: {cause}")));
    }
}

/// The object: of its fields only `spec` has a table.
struct Whole<'a> {
    owner: &'static str,
    path: &'a mut String,
    faults: &'a mut Vec<FieldFault>,
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Name { path: self.path })?.is_some() {
            match self.path.as_str() {
                "spec" => map.next_value_seed(Fields { owner: self.owner, path: self.path, faults: self.faults })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            self.path.clear();
        }
        Ok(())
    }
}

/// Reads a field's name to the end of `path`.
struct Name<'a> {
    path: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<(), D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.path.push_str(name);
        Ok(())
    }
}

/// A struct of `owner`'s fields, or a list or map of them, or nothing; `path` is its own, and is so again at the end.
struct Fields<'a> {
    owner: &'static str,
    path: &'a mut String,
    faults: &'a mut Vec<FieldFault>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a struct or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let above = self.path.len();
        self.path.push('.');
        while map.next_key_seed(Name { path: self.path })?.is_some() {
            match row(self.owner, &self.path[above + 1..]) {
                Some(row) => map.next_value_seed(Field { row, path: self.path, faults: self.faults })?,
                None => {
                    // The table is complete by test; a hole must not read as honoured all the same.
                    let unknown = "this version of minik8s does not know what to do with this field; remove it";
                    self.faults.push(FieldFault::error(&**self.path, unknown));
                    map.next_value::<IgnoredAny>()?;
                }
            }
            self.path.truncate(above + 1);
        }
        self.path.truncate(above);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let above = self.path.len();
        for i in 0.. {
            self.path.push_str(&format!("[{i}]"));
            if items.next_element_seed(Fields { owner: self.owner, path: self.path, faults: self.faults })?.is_none() {
                break;
            }
            self.path.truncate(above);
        }
        self.path.truncate(above);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A field's value.
struct Field<'a> {
    row: &'static Row,
    path: &'a mut String,
    faults: &'a mut Vec<FieldFault>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let Field { row, path, faults } = self;
        match row.status.severity() {
            None if row.inner.is_empty() => drop(IgnoredAny::deserialize(value)?),
            None => Fields { owner: row.inner, path, faults }.deserialize(value)?,
            Some(severity) => {
                let value = Value::deserialize(value)?;
                if is_set(&value) && !excepted(&value, row) {
                    faults.push(FieldFault { severity, field: path.clone(), message: row.reason.to_owned() });
                }
            }
        }
        Ok(())
    }
}

/// An empty text or list is what Kubernetes takes for unset.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

fn excepted(value: &Value, row: &Row) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    row.except.contains(&text.as_str())
}
