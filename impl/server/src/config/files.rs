//! The data folder: where it is, what of it is read and trusted, and how snapshots are written.

use std::path::{Path, PathBuf};

use storage::Packing;

use super::{reader::Reader, throttles};

const METHOD: &str = "snapshot.compression.method";
const FACTOR: &str = "snapshotSizeFactor";
/// What part of the newest snapshot a learner may be sent from the log on disk, in words and in millionths.
const FACTOR_DEFAULT: (&str, u32) = ("0.33", 330_000);

/// What is made of the data folder.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of ZooKeeper's")]
pub struct Files {
    /// How snapshots are written. They are read as their names say.
    pub packing: Packing,
    /// Whether snapshots carry what ZooKeeper reads only with digests: their own, and the last transaction again.
    pub digests: bool,
    /// Whether a log without a snapshot is all there ever was.
    pub trust_empty: bool,
    /// Whether a server without any data is new, also where no file `initialize` says so.
    pub autocreate: bool,
    /// Whether folders are made that are missing.
    pub make_folders: bool,
    /// A learner is sent the log on disk, rather than the whole state, if that takes fewer bytes than so many millionths
    /// of the newest snapshot; 0 is no limit. It is never sent the log on disk if nothing is given.
    pub size_factor: Option<u32>,
}

impl Files {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let files = Self {
            packing: packing(reader),
            digests: reader.flag("digest.enabled", true),
            trust_empty: reader.flag("snapshot.trust.empty", false),
            autocreate: reader.flag("db.autocreate", true),
            make_folders: reader.flag("datadir.autocreate", true),
            size_factor: size_factor(reader),
        };
        if files.trust_empty {
            let message = "a log without a snapshot is taken for all there ever was: set it for the start behind an \
                           upgrade from ZooKeeper 3.4, and take it out again";
            reader.warn_at("snapshot.trust.empty", message);
        }
        if !files.digests {
            let message = "snapshots are written without a digest, as ZooKeeper reads them with this setting; \
                           transactions have theirs all the same";
            reader.warn_at("digest.enabled", message);
        }
        files
    }
}

/// The folder of snapshots and `myid`.
pub(super) fn data_dir(reader: &mut Reader) -> Option<PathBuf> {
    let given = reader.required("dataDir", "the folder for snapshots and myid")?;
    look_at(reader, "dataDir", &given);
    Some(PathBuf::from(given))
}

/// The folder of transaction logs: that of the snapshots, if no other is given.
pub(super) fn log_dir(reader: &mut Reader, data_dir: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = reader.text("dataLogDir") {
        look_at(reader, "dataLogDir", &given);
    }
    Some(PathBuf::from(reader.text_or("dataLogDir", &data_dir?.display().to_string())))
}

/// Says where a folder is that depends on where the server is started, unless `./` says that this is meant; and what
/// only a shell would have filled in.
///
/// Source: ZooKeeper `VerifyingFileFactory`.
fn look_at(reader: &mut Reader, key: &str, given: &str) {
    const SHELL: &str =
        "no shell reads this file: ~ and ${\u{2026}} stay as they are, in the name of a folder";
    let for_shell = given.starts_with(['~', '$']) || given.contains("${");
    let path = Path::new(given);
    if path.is_relative() && !given.starts_with("./") {
        let comes_to = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let message =
            format!("{key} is relative: for a server that is started here it is {}", comes_to.display());
        let sure = "begin it with / to have it wherever the server is started, or with ./ if it is meant so";
        reader.warn_with_help(key, message, if for_shell { SHELL } else { sure });
    } else if for_shell {
        reader.warn_with_help(key, format!("{key} holds what nobody fills in"), SHELL);
    }
}

/// A method that ZooKeeper does not know is none for it.
fn packing(reader: &mut Reader) -> Packing {
    let method = reader.text_or(METHOD, "");
    match method.to_ascii_lowercase().as_str() {
        "gz" => Packing::Gzip,
        "snappy" => Packing::Snappy,
        "" => Packing::Plain,
        _ => {
            let message =
                format!("{METHOD} is {method:?}, and may be gz or snappy: snapshots are written plain");
            reader.warn_at(METHOD, message);
            reader.comes_to(METHOD, "");
            Packing::Plain
        }
    }
}

/// What is no number, or above 1, is the default, as for ZooKeeper; what is negative turns it off.
fn size_factor(reader: &mut Reader) -> Option<u32> {
    let text = reader.text_or(FACTOR, FACTOR_DEFAULT.0);
    if text.parse::<f64>().is_ok_and(|factor| factor < 0.0) {
        return None;
    }
    Some(throttles::millionths(&text).unwrap_or_else(|| {
        let message = format!(
            "{FACTOR} is {text:?}, and may be a decimal number up to 1, of six digits behind the point at most, or a \
             negative one: it is taken for {}",
            FACTOR_DEFAULT.0
        );
        reader.warn_at(FACTOR, message);
        reader.comes_to(FACTOR, FACTOR_DEFAULT.0);
        FACTOR_DEFAULT.1
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, config::Problem};

    /// What these lines come to, with the warnings.
    fn read(lines: &str) -> (Config, Vec<String>) {
        let text = format!("dataDir=/d\nclientPort=1\n{lines}");
        let config = Config::parse("zoo.cfg", text, |_| unreachable!("alone")).expect(lines);
        let warnings = config.warnings.iter().map(Problem::summary).collect();
        (config, warnings)
    }

    #[test]
    fn what_is_not_given_is_as_in_zookeeper() {
        let (config, warnings) = read("");
        let files = Files {
            packing: Packing::Plain,
            digests: true,
            trust_empty: false,
            autocreate: true,
            make_folders: true,
            size_factor: Some(330_000),
        };
        assert_eq!((config.files, warnings), (files, Vec::new()));
        assert_eq!(config.effective[METHOD].value, "");
        assert_eq!(config.effective[FACTOR].value, "0.33");
    }

    #[test]
    fn a_folder_that_depends_on_where_the_server_starts_is_worth_a_word() {
        let told = |lines: &str| {
            let config =
                Config::parse("zoo.cfg", format!("clientPort=1\n{lines}"), |_| unreachable!("alone"));
            config.expect(lines).warnings.iter().map(Problem::summary).collect::<Vec<_>>()
        };
        let here = |folder: &str| std::path::absolute(folder).expect("a folder").display().to_string();
        for fine in ["dataDir=/d", "dataDir=./d", "dataDir=/d\ndataLogDir=./l", "dataDir=/a$b"] {
            assert_eq!(told(fine), Vec::<String>::new(), "{fine}");
        }
        let relative = |line: u8, key: &str, folder: &str| {
            format!(
                "zoo.cfg:{line}: {key} is relative: for a server that is started here it is {}",
                here(folder)
            )
        };
        let warnings = told("dataDir=data\ndataLogDir=../l");
        assert!(warnings[0].starts_with(&relative(2, "dataDir", "data")), "{warnings:?}");
        assert!(warnings[1].starts_with(&relative(3, "dataLogDir", "../l")), "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("or with ./ if")), "{warnings:?}");
        for shell in ["~/d", "${HOME}/d", "$HOME/d"] {
            let warnings = told(&format!("dataDir={shell}"));
            assert!(warnings[0].starts_with(&relative(2, "dataDir", shell)), "{warnings:?}");
            assert!(warnings[0].contains("no shell reads this file"), "{warnings:?}");
        }
        let warnings = told("dataDir=/d/${HOSTNAME}");
        assert!(warnings[0].contains("dataDir holds what nobody fills in (no shell"), "{warnings:?}");
    }

    #[test]
    fn a_method_is_one_of_two_or_none() {
        for (method, packing) in [
            ("gz", Packing::Gzip),
            ("GZ", Packing::Gzip),
            ("snappy", Packing::Snappy),
            ("Snappy", Packing::Snappy),
            ("", Packing::Plain),
        ] {
            let (config, warnings) = read(&format!("{METHOD}={method}"));
            assert_eq!((config.files.packing, warnings), (packing, Vec::new()), "{method}");
        }
        let (config, warnings) = read(&format!("{METHOD}=zstd"));
        assert_eq!(config.files.packing, Packing::Plain);
        assert!(warnings[0].starts_with("zoo.cfg:3: snapshot.compression.method is \"zstd\", and may be gz"));
        assert_eq!(config.effective[METHOD].value, "");
    }

    #[test]
    fn a_factor_is_a_part_or_turns_it_off() {
        for (text, factor, warned) in [
            ("0.33", Some(330_000), false),
            ("0", Some(0), false),
            ("1", Some(1_000_000), false),
            ("0.5", Some(500_000), false),
            ("-1", None, false),
            ("-0.5", None, false),
            ("2", Some(330_000), true),
            ("much", Some(330_000), true),
        ] {
            let (config, warnings) = read(&format!("{FACTOR}={text}"));
            assert_eq!((config.files.size_factor, !warnings.is_empty()), (factor, warned), "{text}");
            let shown = if warned { "0.33" } else { text };
            assert_eq!(config.effective[FACTOR].value, shown);
        }
    }

    #[test]
    fn what_is_trusted_can_be_said() {
        let (config, warnings) =
            read("snapshot.trust.empty=true\ndb.autocreate=false\ndatadir.autocreate=false");
        assert!(config.files.trust_empty && !config.files.autocreate && !config.files.make_folders);
        assert!(warnings[0].starts_with("zoo.cfg:3: a log without a snapshot is taken"), "{warnings:?}");
        assert_eq!(warnings.len(), 1);
    }
}
