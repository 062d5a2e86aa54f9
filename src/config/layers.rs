//! Settings laid over one another, each remembering where it came from.

use super::error::ConfigError;
use super::origin::Origin;
use agents::settings::{Settings, nearest};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The key whose values are the environment's business, so that any name is known.
const FREE_FORM: &str = "env_kwargs";

/// How deep the key of an assignment may be nested.
const DEEPEST: usize = 32;

/// The settings so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) settings: Settings,
    origins: HashMap<String, Origin>,
}

impl Layers {
    /// The lowest layer, the defaults. Its keys are the only ones that the others may have.
    pub(super) fn base(settings: Settings) -> Self {
        let origin = Origin::BuiltIn("default".to_owned());
        let origins = settings.keys().map(|key| (key.clone(), origin.clone())).collect();
        Self { settings, origins }
    }

    /// Removes what does not apply. An error if the user has set it: nothing is ignored.
    pub(super) fn refuse(&mut self, foreign: Vec<(String, String)>) -> Result<(), ConfigError> {
        for (key, reason) in foreign {
            let value = self.settings.shift_remove(&key).unwrap_or_default().to_string();
            match self.origins.get(&key) {
                None | Some(Origin::BuiltIn(_)) => {}
                origin => {
                    return Err(ConfigError::Invalid {
                        origin: origin.cloned(),
                        key,
                        value,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }

    /// Lays `settings` over what is there, objects key by key. `origin` tells where a path came from.
    pub(super) fn lay(
        &mut self,
        settings: &Settings,
        origin: &dyn Fn(&[&str]) -> Origin,
    ) -> Result<(), ConfigError> {
        lay(&mut self.settings, settings, &mut Vec::new(), origin, &mut self.origins)
    }

    /// Where the value of the dotted `key` came from, or that of what it lies in.
    pub(super) fn origin(&self, key: &str) -> Option<&Origin> {
        let mut key = key;
        loop {
            if let Some(origin) = self.origins.get(key) {
                return Some(origin);
            }
            key = &key[..key.rfind('.')?];
        }
    }
}

fn lay<'a>(
    base: &mut Settings,
    over: &'a Settings,
    path: &mut Vec<&'a str>,
    origin: &dyn Fn(&[&str]) -> Origin,
    origins: &mut HashMap<String, Origin>,
) -> Result<(), ConfigError> {
    for (key, value) in over {
        path.push(key);
        if !base.contains_key(key) && path.first() != Some(&FREE_FORM) {
            return Err(ConfigError::UnknownKey {
                origin: origin(path),
                key: path.join("."),
                nearest: nearest(key, base.keys()).cloned().unwrap_or_default(),
            });
        }
        origins.insert(path.join("."), origin(path));
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => {
                lay(base, over, path, origin, origins)?;
            }
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
        path.pop();
    }
    Ok(())
}

/// As much of `text` as a message has room for.
fn start_of(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `key.nested=value` as settings.
pub(super) fn parse_assignment(text: &str) -> Result<Settings, ConfigError> {
    let syntax = |reason: String| ConfigError::Assignment { text: start_of(text), reason };
    let (key, value) = text.split_once('=').ok_or_else(|| syntax("it has no `=`".to_owned()))?;
    let value = super::yaml::parse_value(value).map_err(syntax)?;
    if key.matches('.').count() > DEEPEST {
        return Err(syntax(format!("it is nested more than {DEEPEST} deep")));
    }
    let mut settings = Settings::new();
    let nested = key
        .trim()
        .rsplit('.')
        .fold(value, |value, key| Value::Object(Settings::from_iter([(key.to_owned(), value)])));
    if let Value::Object(object) = nested {
        settings = object;
    }
    Ok(settings)
}

/// A configuration file: `default` and an entry per environment.
pub(super) struct File<'a> {
    document: super::yaml::Document,
    origin: Box<dyn Fn(Option<usize>) -> Origin + 'a>,
}

impl<'a> File<'a> {
    /// A file of `configs/`, compiled in.
    pub(super) fn built_in(name: &str, text: &str) -> Result<Self, ConfigError> {
        let origin = Origin::BuiltIn(format!("configs/{name}"));
        Self::parse(text, move |_| origin.clone())
    }

    /// The file at `path`.
    pub(super) fn read(path: &'a Path) -> Result<Self, ConfigError> {
        let text = crate::files::read_text(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, move |line| Origin::File(path.to_owned(), line))
    }

    fn parse(
        text: &str,
        origin: impl Fn(Option<usize>) -> Origin + 'a,
    ) -> Result<Self, ConfigError> {
        let document = super::yaml::Document::parse(text)
            .map_err(|reason| ConfigError::Syntax { origin: origin(None), reason })?;
        Ok(Self { document, origin: Box::new(origin) })
    }

    /// The names of the entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &str> {
        self.document.values.keys().map(String::as_str)
    }

    /// Lays the settings at `path`, if there are such, over `layers`.
    pub(super) fn lay(&self, layers: &mut Layers, path: &[&str]) -> Result<(), ConfigError> {
        let Some((first, rest)) = path.split_first() else { return Ok(()) };
        let mut value = self.document.values.get(*first);
        for key in rest {
            value = value.and_then(|value| value.get(key));
        }
        let origin = |within: &[&str]| {
            let whole: Vec<&str> = path.iter().chain(within).copied().collect();
            (self.origin)(self.document.line(&whole))
        };
        match value {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Object(settings)) => layers.lay(settings, &origin),
            Some(value) => Err(ConfigError::Invalid {
                origin: Some(origin(&[])),
                key: path.join("."),
                value: value.to_string(),
                reason: "an entry holds keys and values, like `gamma: 0.99`".to_owned(),
            }),
        }
    }

    /// An error if the file has none of `entries`, or settings outside of any: they would be ignored.
    pub(super) fn refuse_silence(&self, entries: &[&str], env: &str) -> Result<(), ConfigError> {
        self.refuse_stray_keys()?;
        let values = &self.document.values;
        let silent = !entries.iter().any(|&entry| values.contains_key(entry));
        if silent && !values.is_empty() {
            let [like_default, like_env] =
                ["default", env].map(|name| nearest(name, values.keys()));
            let slip = like_default.filter(|name| strsim::jaro_winkler(name, "default") > 0.8);
            return Err(ConfigError::NoEntry {
                origin: (self.origin)(None),
                env: env.to_owned(),
                nearest: slip.or(like_env).cloned().unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// A setting outside of any entry would be ignored, which nobody means.
    fn refuse_stray_keys(&self) -> Result<(), ConfigError> {
        match self.document.values.iter().find(|(_, value)| !value.is_object() && !value.is_null())
        {
            None => Ok(()),
            Some((key, value)) => Err(ConfigError::Invalid {
                origin: Some((self.origin)(self.document.line(&[key]))),
                key: key.clone(),
                value: value.to_string(),
                reason: "settings stand under `default:` or under an environment's id".to_owned(),
            }),
        }
    }
}
