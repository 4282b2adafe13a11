//! Sources of configuration for figment, flat: `a` and `a.b` are two keys, and values stay text.
//!
//! Figment's own `Env` and file providers nest keys at their dots and guess types, which loses `log.dir` when
//! `log.dir.failure.timeout.ms` is set beside it.

use std::collections::BTreeMap;

use figment::{
    Error, Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Value, magic::Tagged},
};

use crate::settings::{Origin, Setting, Settings};

/// One source: every key with its text and its place in the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flat {
    /// What figment calls the source; unique among those that are merged.
    pub(crate) name: &'static str,
    /// The keys it sets.
    pub(crate) settings: BTreeMap<String, Setting>,
}

impl Flat {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, settings: BTreeMap::new() }
    }

    /// Sets a key; later calls win.
    pub(crate) fn set(&mut self, key: impl Into<String>, text: impl Into<String>, origin: Origin) {
        self.settings.insert(key.into(), Setting { text: text.into(), origin });
    }
}

impl Provider for Flat {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let values =
            self.settings.iter().map(|(key, setting)| (key.clone(), Value::from(setting.text.clone())));
        Ok(Map::from([(Profile::Default, values.collect())]))
    }
}

/// Merges sources, the later ones over the earlier ones.
pub(crate) fn merge(sources: &[Flat]) -> Settings {
    let figment = sources.iter().fold(Figment::new(), |figment, source| figment.merge(source.clone()));
    let merged: BTreeMap<String, Tagged<String>> =
        figment.extract().expect("every source gives a flat table of texts");
    let mut settings = Settings::default();
    for (key, value) in merged {
        let name = figment.get_metadata(value.tag()).map(|metadata| metadata.name.as_ref());
        let source = sources
            .iter()
            .rev()
            .find(|source| name.is_none_or(|name| name == source.name) && source.settings.contains_key(&key));
        let setting = &source.expect("the key came out of one of the sources").settings[&key];
        settings.set(key, setting.text.clone(), setting.origin.clone());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_dots_do_not_nest_and_later_sources_win() {
        let mut file = Flat::new("file");
        let place = |line| Origin::File { path: "f".into(), line };
        file.set("log.dir", "/d", place(1));
        file.set("log.dir.failure.timeout.ms", "1", place(2));
        let mut arguments = Flat::new("arguments");
        arguments.set("log.dir", "/e", Origin::Argument);
        let merged = merge(&[file, arguments]);
        assert_eq!(merged.text("log.dir"), Some("/e"));
        assert_eq!(merged.get("log.dir").map(|setting| &setting.origin), Some(&Origin::Argument));
        let timeout = merged.get("log.dir.failure.timeout.ms").unwrap();
        assert_eq!((timeout.text.as_str(), &timeout.origin), ("1", &place(2)));
    }
}
