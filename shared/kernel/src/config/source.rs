//! Where settings are looked for beyond the defaults.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::mistakes::Mistakes;

/// The environment and the `.env` file to read; a parameter, so that tests need no global state.
#[derive(Clone, Default)]
pub struct ConfigSource {
    /// Environment variables, names and values.
    pub env: Vec<(String, String)>,
    /// The file of further variables; one that does not exist is as good as an empty one.
    pub dotenv: Option<PathBuf>,
}

/// Which layer a setting comes from; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Default,
    DotEnv,
    Environment,
}

/// The variables of both layers by name.
pub(super) type Variables = BTreeMap<String, (String, Layer)>;

impl ConfigSource {
    /// The environment of this process and `.env` in its working directory. The only place that reads either.
    #[must_use]
    pub fn process() -> Self {
        let env = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        Self {
            env,
            dotenv: Some(PathBuf::from(".env")),
        }
    }

    /// No file, only these variables.
    #[must_use]
    pub fn from_env<K: Into<String>, V: Into<String>>(env: impl IntoIterator<Item = (K, V)>) -> Self {
        Self {
            env: env.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            dotenv: None,
        }
    }

    pub(super) fn variables(self, mistakes: &mut Mistakes) -> Variables {
        let mut variables = Variables::new();
        if let Some(path) = &self.dotenv {
            read_file(path, &mut variables, mistakes);
        }
        variables.extend(
            self.env
                .into_iter()
                .map(|(name, value)| (name, (value, Layer::Environment))),
        );
        variables
    }
}

fn read_file(path: &Path, variables: &mut Variables, mistakes: &mut Mistakes) {
    let file = path.display().to_string();
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => return,
        Err(_) => return mistakes.add(file, "the file cannot be read"),
    };
    let mut place = "the first line".to_owned();
    for line in lines {
        match line {
            Ok((name, value)) => {
                place = format!("the line after {name}");
                variables.insert(name, (value, Layer::DotEnv));
            }
            Err(dotenvy::Error::LineParse(..)) => mistakes.add(
                file.as_str(),
                format!("{place} must be NAME=value, with single quotes around a value that has spaces or `$`"),
            ),
            Err(_) => return mistakes.add(file, "the file cannot be read as text"),
        }
    }
}
