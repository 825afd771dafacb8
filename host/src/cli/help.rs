//! Examples in every help text. They are written once, at the command that stands above; `aimass plugins show --help`
//! has those of `aimass plugins --help` that are about it.

use clap::builder::StyledStr;
use clap::{Command, Parser};

/// Parses the arguments.
pub(super) fn parse<C: Parser>() -> C {
    let matches = with_examples(C::command()).get_matches();
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Hands examples down to the subcommands that have none of their own.
pub(super) fn with_examples(command: Command) -> Command {
    let path = command.get_name().to_owned();
    hand_down(command, &path, &[])
}

fn hand_down(command: Command, path: &str, above: &[String]) -> Command {
    let help = command.get_after_help().map(StyledStr::to_string).unwrap_or_default();
    let mut known = examples(&help);
    known.extend_from_slice(above);
    let own: Vec<_> = known.iter().filter(|example| is_about(example, path)).map(String::as_str).collect();
    let has_some = examples(&help).iter().any(|example| is_about(example, path));
    let command = if has_some || own.is_empty() {
        command
    } else {
        let before = if help.is_empty() { help } else { help + "\n\n" };
        command.after_help(format!("{before}Examples:\n{}", own.join("\n")))
    };
    command.mut_subcommands(|subcommand| {
        let path = format!("{path} {}", subcommand.get_name());
        hand_down(subcommand, &path, &known)
    })
}

/// The examples in a help text: lines that call the program, each with the lines that go on with it.
fn examples(help: &str) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    let mut goes_on = false;
    for line in help.lines() {
        if goes_on {
            if let Some(last) = found.last_mut() {
                *last += &format!("\n{line}");
            }
        } else if line.starts_with("  ") && line.contains("aimass ") {
            found.push(line.to_owned());
        } else {
            continue;
        }
        goes_on = line.ends_with('\\');
    }
    found
}

/// Whether an example calls this command.
fn is_about(example: &str, path: &str) -> bool {
    example.match_indices(path).any(|(at, _)| {
        let (before, after) = (&example[..at], &example[at + path.len()..]);
        before.chars().last().is_none_or(|c| !c.is_alphanumeric() && c != '-' && c != '/')
            && after.chars().next().is_none_or(|c| c.is_whitespace() || c == ')')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory as _;

    fn all(command: &Command, path: &str, each: &mut impl FnMut(&str, &Command)) {
        each(path, command);
        for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            all(subcommand, &format!("{path} {}", subcommand.get_name()), each);
        }
    }

    fn help(command: &Command) -> String {
        command.get_after_help().map(StyledStr::to_string).unwrap_or_default()
    }

    #[test]
    fn every_command_has_examples() {
        let mut without = vec![];
        all(&with_examples(Cli::command()), "aimass", &mut |path, command| {
            let leaf = !command.has_subcommands();
            let found = examples(&help(command));
            // A group shows its subcommands at work.
            if !found.iter().any(|e| is_about(e, path) || (!leaf && e.contains(&format!("{path} ")))) {
                without.push(path.to_owned());
            }
        });
        assert!(without.is_empty(), "no example for: {}", without.join(", "));
    }

    #[test]
    fn every_example_can_be_parsed() {
        let mut tried = 0;
        all(&Cli::command(), "aimass", &mut |path, command| {
            for example in examples(&help(command)) {
                for words in calls(&example) {
                    tried += 1;
                    let parsed = Cli::command().try_get_matches_from(&words);
                    assert!(parsed.is_ok(), "{path}: {example}\n{words:?}: {}", parsed.unwrap_err());
                }
            }
        });
        assert!(tried > 50, "{tried}");
    }

    /// The calls of this program in an example, as the shell would hand them over: what stands behind two spaces is a
    /// remark, and behind `>`, `|` and `…)` comes something else.
    fn calls(example: &str) -> Vec<Vec<String>> {
        let line = example.replace("\\\n", " ");
        let mut calls = vec![vec![]];
        let (mut word, mut quote, mut ended) = (String::new(), None, false);
        let line = line.trim();
        let mut spaces = 0;
        for c in line.chars().chain([' ']) {
            match (c, quote) {
                (c, Some(open)) if c == open => quote = None,
                (c, Some(_)) => word.push(c),
                ('\'' | '"', None) => quote = Some(c),
                (' ', None) => {
                    spaces += 1;
                    if !word.is_empty() {
                        let word = std::mem::take(&mut word);
                        match word.as_str() {
                            "&&" => {
                                calls.push(vec![]);
                                ended = false;
                            }
                            ">" | "|" => ended = true,
                            _ if ended => {}
                            _ => calls.last_mut().unwrap().push(word),
                        }
                    }
                    // A continued line is indented; a remark follows the whole call.
                    if spaces > 1 && !example.contains('\\') {
                        ended = true;
                    }
                    continue;
                }
                (c, None) => word.push(c),
            }
            spaces = 0;
        }
        for call in &mut calls {
            while call.first().is_some_and(|word| word.contains('=')) {
                call.remove(0);
            }
        }
        calls.retain(|call| call.first().is_some_and(|word| word == "aimass"));
        calls
    }
}
