//! JSON kept as the text it came as, so that it goes back out byte for byte.

mod nearest;

pub(crate) use self::nearest::nearest_value;

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::limits::JSON_DEPTH_MAX;

/// One JSON value as text. It is always valid: the only ways in check it.
///
/// Two are equal when their text is; compare [`Json::to_value`] to compare what they mean.
#[derive(Clone, PartialEq, Eq, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Json(String);

impl Json {
    /// Checks the text and keeps it.
    ///
    /// ```
    /// use sessionlog::Json;
    /// assert_eq!(Json::parse("[1.50, 2]")?.as_str(), "[1.50, 2]");
    /// assert!(Json::parse("[1,").is_err());
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        check_depth(text, JSON_DEPTH_MAX)?;
        Ok(Self(raw.get().to_owned()))
    }

    /// A JSON string.
    pub fn string(text: &str) -> Self {
        Self::from(Value::from(text))
    }

    /// A list of values, each with its own text.
    pub(crate) fn array(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<String> = items.into_iter().map(|item| item.0).collect();
        Self(format!("[{}]", items.join(",")))
    }

    /// Text that is known to be JSON: of a value in which whole literals gave way to others, or
    /// whole items were left out.
    pub(crate) fn of_valid(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value the text means. A number that no `f64` holds reads as null; the text keeps it.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(raw.get().to_owned())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(&self.0) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().to_owned()))
    }
}

/// A member of a JSON object: its name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Field {
    /// The member's name.
    pub name: String,
    /// The member's value.
    pub value: Json,
}

/// A JSON object whose members keep their order and their text. Where a name occurs twice the
/// last one wins, as in every common parser.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonObject(pub Vec<Field>);

impl JsonObject {
    /// Parses one object.
    pub fn parse(text: &str) -> Result<Self> {
        let object = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        check_depth(text, JSON_DEPTH_MAX)?;
        Ok(object)
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// Takes a member out.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|field| field.name == name)?;
        Some(self.0.remove(at).value)
    }

    /// Sets a member, in place if it is there.
    pub fn set(&mut self, name: &str, value: Json) {
        match self.0.iter_mut().find(|field| field.name == name) {
            Some(field) => field.value = value,
            None => self.0.push(Field { name: name.to_owned(), value }),
        }
    }

    /// The object as one JSON value.
    pub fn to_json(&self) -> Json {
        Json(serde_json::to_string(self).unwrap_or_else(|_| String::from("{}")))
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Field { name, value } in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut object = JsonObject::default();
                let mut places = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    let place: Option<&usize> = places.get(&name);
                    if let Some(field) = place.and_then(|at| object.0.get_mut(*at)) {
                        field.value = value;
                    } else {
                        places.insert(name.clone(), object.0.len());
                        object.0.push(Field { name, value });
                    }
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::invalid(format!("not JSON: {error}"))
}

/// Bounds the nesting of text that is known to be JSON. A raw value is skipped over without
/// recursion when it comes in, but whoever builds a tree of it later does recurse.
pub(crate) fn check_depth(text: &str, max: usize) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        // serde_json's own recursion limit counts one less.
        if depth >= max {
            return Err(Error::invalid(format!("JSON nested deeper than {max}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_out_as_it_came_in() {
        let text = r#"{"b":1.50,"a":[1e400,"\u00e9"],"n":12345678901234567890123}"#;
        let object: JsonObject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
    }

    #[test]
    fn the_last_of_two_equal_names_wins() {
        let object = JsonObject::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.to_json().as_str(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn nesting_that_would_overflow_a_reader_is_refused() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(Json::parse(&deep).is_err());
        assert!(JsonObject::parse(&format!("{{\"a\":{deep}}}")).is_err());
    }
}
