//! The Deserializer: one node, how it hangs in the document, and where faults go.

use super::access::{Fields, Items};
use super::path::{Label, Level};
use super::{Found, MAX_FOUND, Stopped, leaf, path};
use crate::api::yaml::resolve::Resolved;
use crate::api::yaml::{Node, Pair, Value};
use serde::de::{Deserializer, Visitor};
use std::cell::RefCell;
use std::collections::HashSet;

/// Where the faults of one decoding go.
pub(super) struct Sink<'a> {
    found: RefCell<Vec<Found>>,
    stopped: RefCell<Option<(u32, Found)>>,
    left_out: &'a HashSet<u32>,
    /// Whether values must not be quoted.
    pub secret: bool,
}

impl<'a> Sink<'a> {
    pub fn new(left_out: &'a HashSet<u32>, secret: bool) -> Sink<'a> {
        Sink { found: RefCell::default(), stopped: RefCell::default(), left_out, secret }
    }

    pub fn into_parts(self) -> (Vec<Found>, Option<(u32, Found)>) {
        (self.found.into_inner(), self.stopped.into_inner())
    }

    pub fn push(&self, found: Found) {
        let mut all = self.found.borrow_mut();
        if all.len() < MAX_FOUND {
            all.push(found);
        }
    }

    pub fn leaves_out(&self, node: &Node) -> bool {
        self.left_out.contains(&node.id)
    }
}

/// One node to decode.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub node: &'a Node,
    pub up: Option<&'a Level<'a>>,
    pub label: Label<'a>,
    pub sink: &'a Sink<'a>,
}

impl<'a> Cursor<'a> {
    pub fn root(node: &'a Node, sink: &'a Sink<'a>) -> Cursor<'a> {
        Cursor { node, up: None, label: Label::Root, sink }
    }

    /// Reports this value.
    pub fn fault(&self, message: String) {
        self.sink.push(self.found(message));
    }

    fn found(&self, message: String) -> Found {
        Found { place: self.node.place, field: path::write(self.up, self.label), message, meant: None }
    }

    /// Remembers that decoding could not go on here; the innermost value wins.
    pub fn stop(&self, error: &Stopped) {
        let mut stopped = self.sink.stopped.borrow_mut();
        if stopped.is_none() {
            *stopped = Some((self.node.id, self.found(leaf::stopped(self.node, &error.0, self.sink.secret))));
        }
    }

    /// The scalar's meaning; a list, a mapping or a value that was left out is reported or null.
    fn scalar(&self, wanted: &str) -> Resolved<'a> {
        if self.sink.leaves_out(self.node) {
            return Resolved::Null;
        }
        self.node.resolved().unwrap_or_else(|| {
            self.mismatch(wanted);
            Resolved::Null
        })
    }

    fn mismatch(&self, wanted: &str) {
        self.fault(leaf::mismatch(self.node, wanted, self.sink.secret));
    }

    fn integer<T: TryFrom<i128> + Default>(&self, wanted: &'static str) -> T {
        let value = match self.scalar(wanted) {
            Resolved::Null => return T::default(),
            Resolved::Int(v) => i128::from(v),
            Resolved::Uint(v) => i128::from(v),
            Resolved::Float(v) if v.fract() == 0.0 && v.abs() < 1e18 => v as i128,
            _ => {
                self.mismatch(wanted);
                return T::default();
            }
        };
        T::try_from(value).unwrap_or_else(|_| {
            self.fault(format!("number {value} does not fit into a field of type {wanted}"));
            T::default()
        })
    }

    fn float(&self) -> f64 {
        match self.scalar("number") {
            Resolved::Null => 0.0,
            Resolved::Int(v) => v as f64,
            Resolved::Uint(v) => v as f64,
            Resolved::Float(v) => v,
            _ => {
                self.mismatch("number");
                0.0
            }
        }
    }

    fn text(&self) -> &'a str {
        match self.scalar("string") {
            Resolved::Str(text) => text,
            Resolved::Null => "",
            _ => {
                self.mismatch("string");
                ""
            }
        }
    }

    fn level(&self, name: &'static str, known: &'static [&'static str]) -> Level<'a> {
        Level { up: self.up, label: self.label, name, known }
    }

    /// The pairs of a mapping; anything but null or a mapping is reported.
    fn pairs(&self) -> &'a [Pair] {
        match &self.node.value {
            _ if self.sink.leaves_out(self.node) || self.node.is_null() => &[],
            Value::Mapping(pairs) => pairs,
            _ => {
                self.mismatch("object");
                &[]
            }
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty, $name:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
            visitor.$visit(self.integer::<$type>($name))
        }
    )*};
}

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Stopped;

    /// For types that say nothing of themselves: IntOrString.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        if self.sink.leaves_out(self.node) {
            return visitor.visit_i64(0);
        }
        match &self.node.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Scalar { .. } => match self.scalar("any") {
                Resolved::Null => visitor.visit_unit(),
                Resolved::Bool(v) => visitor.visit_bool(v),
                Resolved::Int(v) => visitor.visit_i64(v),
                Resolved::Uint(v) => visitor.visit_u64(v),
                Resolved::Float(v) if v.fract() == 0.0 && v.abs() < 1e18 => visitor.visit_i64(v as i64),
                Resolved::Float(v) => visitor.visit_f64(v),
                Resolved::Str(v) => visitor.visit_str(v),
            },
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        match self.scalar("bool") {
            Resolved::Bool(v) => visitor.visit_bool(v),
            Resolved::Null => visitor.visit_bool(false),
            _ => {
                self.mismatch("bool");
                visitor.visit_bool(false)
            }
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_f64(self.float())
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_f64(self.float())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_str(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_str(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        if self.node.is_null() || self.sink.leaves_out(self.node) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Stopped> {
        let text = match name {
            "Quantity" => leaf::quantity(self.node),
            "Time" | "MicroTime" => leaf::time(self.node),
            _ => return visitor.visit_newtype_struct(self),
        };
        let text = text.unwrap_or_else(|message| {
            self.fault(if self.sink.secret { format!("invalid {name}") } else { message });
            leaf::zero(name).to_owned()
        });
        visitor.visit_newtype_struct(serde::de::value::StringDeserializer::new(text))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        let items: &[Node] = match &self.node.value {
            _ if self.sink.leaves_out(self.node) || self.node.is_null() => &[],
            Value::Sequence(items) => items,
            _ => {
                self.mismatch("array");
                &[]
            }
        };
        let level = self.level("", &[]);
        visitor.visit_seq(Items::new(items, &level, self.sink))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        let level = self.level("", &[]);
        visitor.visit_map(Fields::map(self.pairs(), &level, self.sink))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        let level = self.level(name, fields);
        visitor.visit_map(Fields::known(self.pairs(), &level, self.sink))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier i128 u128
    }
}
