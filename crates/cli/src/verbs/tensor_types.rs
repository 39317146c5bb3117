//! `--tensor-type` and `--tensor-type-file`: one list of rules in the order of the command line, because the first
//! rule that matches a tensor decides. Derived arguments lose that order, so these two are read by hand.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};
use gravure::mixtures::TensorType;
use gravure::{Error, Result, ResultExt};

/// What was given, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct TensorTypes(Vec<Given>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Rule(String),
    File(PathBuf),
}

impl TensorTypes {
    /// Name of the option that gives one rule.
    pub(crate) const RULE: &str = "tensor_type";
    /// Name of the option that gives a file of rules.
    pub(crate) const FILE: &str = "tensor_type_file";

    /// The rules, those of a file at the file's place.
    ///
    /// # Errors
    /// `Request` for a rule that is none, `NotFound` and `Environment` for a file that cannot be read.
    pub(crate) fn rules(&self) -> Result<Vec<TensorType>> {
        let mut rules = Vec::new();
        for given in &self.0 {
            match given {
                Given::Rule(text) => rules.push(TensorType::parse(text)?),
                Given::File(path) => {
                    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the tensor types", path, e))?;
                    rules.extend(TensorType::parse_file(&text).in_file(path)?);
                }
            }
        }
        Ok(rules)
    }
}

impl FromArgMatches for TensorTypes {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut given = Vec::new();
        let texts = matches.get_many::<String>(Self::RULE).into_iter().flatten().map(|text| Given::Rule(text.clone()));
        given.extend(matches.indices_of(Self::RULE).into_iter().flatten().zip(texts));
        let paths = matches.get_many::<PathBuf>(Self::FILE).into_iter().flatten().map(|path| Given::File(path.clone()));
        given.extend(matches.indices_of(Self::FILE).into_iter().flatten().zip(paths));
        given.sort_by_key(|(index, _)| *index);
        Ok(Self(given.into_iter().map(|(_, given)| given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for TensorTypes {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(Self::RULE)
                    .long("tensor-type")
                    .value_name("PATTERN=TYPE")
                    .action(ArgAction::Append)
                    .help("Encoding for the tensors whose name matches a regular expression; may be repeated"),
            )
            .arg(
                Arg::new(Self::FILE)
                    .long("tensor-type-file")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .action(ArgAction::Append)
                    .help("File of PATTERN=TYPE rules, separated by white space; may be repeated"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_stand_in_the_order_of_the_command_line() {
        let command = <TensorTypes as clap::Args>::augment_args(Command::new("x"));
        let line = ["x", "--tensor-type", "a=f16", "--tensor-type-file", "1", "--tensor-type=b=f16", "--tensor-type-file=2"];
        let given = TensorTypes::from_arg_matches(&command.try_get_matches_from(line).unwrap()).unwrap();
        let expected = [Given::Rule("a=f16".into()), Given::File("1".into()), Given::Rule("b=f16".into()), Given::File("2".into())];
        assert_eq!(given.0, expected);
    }
}
