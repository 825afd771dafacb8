//! Conditions over a few values, in the Common Expression Language: compiled once, bounded in size and time.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use aimass_core::{Fault, Result};
use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::parser::Expression;
use cel::{Context, Program, Value};

/// Bytes of a condition: some comparisons.
const MAX_SOURCE: usize = 1_000;

/// Brackets within brackets: the parser recurses.
const MAX_NESTING: usize = 16;

/// The parser's stack for that, with room to spare.
const STACK: usize = 16 << 20;

/// A condition takes less than a millisecond to compile; what takes so long is made to.
const LONGEST: Duration = Duration::from_secs(2);

/// One at a time: whoever sends such conditions waits for their own.
static TURN: Mutex<()> = Mutex::new(());

/// A condition that was found to be one.
///
/// What can take long is refused (`all`, `map` and what else goes through a list), so its time is that of its length.
pub(crate) struct Rule {
    source: String,
    program: Program,
}

impl Rule {
    /// Compiles a condition over the variables `known`, and tries it out with the values of `sample`.
    ///
    /// # Errors
    /// `invalid_request` that says what is wrong, and for an unknown name which ones there are.
    pub(crate) fn compile(source: &str, sample: &Values) -> Result<Self> {
        let known: Vec<_> = sample.0.keys().copied().collect();
        let rule = Self::over_documents(source, &known)?;
        rule.holds(sample)?;
        Ok(rule)
    }

    fn checked(source: &str) -> Result<Self> {
        if source.len() > MAX_SOURCE {
            return Err(Fault::invalid(format!("a condition is at most {MAX_SOURCE} bytes")));
        }
        if nesting(source) > MAX_NESTING {
            return Err(Fault::invalid(format!("a condition has at most {MAX_NESTING} brackets in one another")));
        }
        let program = parse(source)?;
        check(program.expression())?;
        Ok(Self { source: source.to_owned(), program })
    }

    /// Compiles a condition over documents of these names. Which fields one has is known when it comes, so nothing is
    /// tried out.
    ///
    /// # Errors
    /// As [`Rule::compile`].
    pub(crate) fn over_documents(source: &str, names: &[&'static str]) -> Result<Self> {
        let rule = Self::checked(source)?;
        let references = rule.program.references();
        match references.variables().into_iter().find(|name| !names.contains(name)) {
            Some(unknown) => {
                let detail = format!("a condition knows nothing of `{unknown:.60}`; it knows {}", names.join(", "));
                Err(Fault::invalid(detail))
            }
            None => Ok(rule),
        }
    }

    /// Whether it holds of these values.
    ///
    /// # Errors
    /// `invalid_request` if it comes to something else than true or false, or to nothing (a division by zero).
    pub(crate) fn holds(&self, values: &Values) -> Result<bool> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::default();
            for (name, value) in &values.0 {
                context.add_variable_from_value(*name, value.clone());
            }
            self.program.execute(&context)
        }));
        match evaluated {
            Ok(Ok(Value::Bool(holds))) => Ok(holds),
            Ok(Ok(_)) => Err(Fault::invalid(format!("the condition `{}` is neither true nor false", self.source))),
            Ok(Err(error)) => {
                let said: String = error.to_string().chars().take(200).collect();
                Err(Fault::invalid(format!("the condition `{}` comes to nothing: {said}", self.source)))
            }
            Err(_) => Err(Fault::invalid(format!("the condition `{}` cannot be evaluated", self.source))),
        }
    }
}

/// What a condition can ask for, by name.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Adds a number. All are of one type, so that they can be compared and multiplied with one another.
    pub(crate) fn number(mut self, name: &'static str, value: f64) -> Self {
        self.0.insert(name, Value::Float(value));
        self
    }

    /// Adds a document, whose fields are asked for with dots.
    pub(crate) fn document(mut self, name: &'static str, document: &serde_json::Value) -> Self {
        self.0.insert(name, value(document));
        self
    }
}

fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text.clone().into()),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        Json::Object(fields) => {
            let fields: HashMap<String, Value> =
                fields.iter().map(|(name, field)| (name.clone(), value(field))).collect();
            Value::Map(fields.into())
        }
    }
}

/// On a stack and in a time of its own: the parser's depth is the tenant's choice, and what it has to try out.
fn parse(source: &str) -> Result<Program> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = source.to_owned();
    let (parsed, told) = mpsc::channel();
    let thread = std::thread::Builder::new().name("condition".to_owned()).stack_size(STACK);
    // Its end of the channel closes as well when it panics.
    thread.spawn(move || parsed.send(Program::compile(&text))).map_err(Fault::internal)?;
    match told.recv_timeout(LONGEST) {
        Ok(Ok(program)) => Ok(program),
        Ok(Err(errors)) => {
            // It points at the place over several lines; the first says what it is.
            let said: String = errors.to_string().lines().next().unwrap_or_default().chars().take(200).collect();
            Err(Fault::invalid(format!("the condition is not valid: {said}")))
        }
        Err(_) => Err(Fault::invalid("the condition is not valid")),
    }
}

/// The deepest nesting of brackets, whatever they are part of.
fn nesting(source: &str) -> usize {
    let (mut open, mut deepest) = (0usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// Refuses what takes longer than its length.
fn check(expression: &Expression) -> Result<()> {
    let all = |of: &[IdedExpr]| of.iter().try_for_each(check);
    match &expression.expr {
        Expr::Comprehension(_) => Err(Fault::invalid("a condition goes through no list")),
        Expr::Struct(_) => Err(Fault::invalid("a condition makes no objects")),
        Expr::Call(call) => {
            call.target.iter().try_for_each(|target| check(target))?;
            all(&call.args)
        }
        Expr::List(list) => all(&list.elements),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => check(&entry.key).and(check(&entry.value)),
            EntryExpr::StructField(field) => check(&field.value),
        }),
        Expr::Select(select) => check(&select.operand),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn values(error_rate: f64, p99_ms: f64) -> Values {
        Values::default().number("error_rate", error_rate).number("p99_ms", p99_ms)
    }

    #[test]
    fn a_condition_holds_or_does_not() {
        let rule = Rule::compile("error_rate < 0.01 && p99_ms < 50", &values(0.0, 0.0)).unwrap();
        assert!(rule.holds(&values(0.0, 49.9)).unwrap());
        assert!(!rule.holds(&values(0.01, 1.0)).unwrap());
        assert!(!rule.holds(&values(0.0, 50.0)).unwrap());
        let rule = Rule::compile("p99_ms <= 2.0 * error_rate || p99_ms == 0.0", &values(0.0, 0.0)).unwrap();
        assert!(rule.holds(&values(5.0, 10.0)).unwrap());
    }

    #[test]
    fn a_condition_asks_for_the_fields_of_a_document() {
        let json = serde_json::json!({ "type": "a", "data": { "version": 2, "tags": ["x"], "rate": 0.5 } });
        let holds = |source: &str| {
            let rule = Rule::over_documents(source, &["event"]).unwrap();
            rule.holds(&Values::default().document("event", &json))
        };
        assert!(holds("event.type == 'a' && event.data.version >= 2 && event.data.rate < 1.0").unwrap());
        assert!(holds("'x' in event.data.tags && event.data.version == 2").unwrap());
        assert!(!holds("event.type == 'b'").unwrap());
        assert!(holds("event.data.nothing == 1").is_err(), "there is no such field");
        let unknown = Rule::over_documents("evnt.type == 'a'", &["event"]).err().unwrap();
        assert!(unknown.detail().contains("`evnt`; it knows event"));
    }

    #[test]
    fn what_is_no_condition_is_refused_and_told_why() {
        let refused = |source: &str| Rule::compile(source, &values(0.0, 0.0)).err().unwrap().detail().to_owned();
        assert!(refused("eror_rate < 1").contains("`eror_rate`; it knows error_rate, p99_ms"));
        assert!(refused("error_rate + 1.0").contains("neither true nor false"));
        assert!(refused("error_rate <").contains("not valid"));
        assert!(refused("error_rate < 'x'").contains("comes to nothing"));
        assert!(refused("[1, 2].all(x, x > 0)").contains("no list"));
        assert!(refused("nothing(error_rate)").contains("comes to nothing"));
        assert!(refused(&"1 < 2 && ".repeat(200)).contains("1000 bytes"));
        assert!(refused(&format!("{}true{}", "(".repeat(30), ")".repeat(30))).contains("16 brackets"));
        for garbage in ["", "(", "((", ">{{{{?[(((({{l\0?(-", "a ? b", "\u{feff}", "!!!!", "-", "1 +", "'", "\"\\x"] {
            assert!(Rule::compile(garbage, &values(0.0, 0.0)).is_err(), "{garbage:?}");
        }
    }

    /// A seeded walk through what a parser may stumble over; none may take long, and none may end the process.
    #[test]
    fn no_text_takes_long() {
        let pieces = [
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "?",
            ":",
            "-",
            "!",
            "&&",
            "||",
            "<",
            "==",
            "in",
            ".",
            ",",
            "error_rate",
            "1",
            "1.5",
            "'a'",
            "\"",
            "r'",
            "b'",
            "\\",
            "all",
            "has",
            "true",
            "null",
            "\u{0}",
            "é",
            " ",
            "a.b",
            "x{",
            "//",
            "\n",
        ];
        let (mut seed, mut slowest) = (7u64, (Duration::ZERO, String::new()));
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        for round in 0..400 {
            let length = if round % 8 == 0 { 400 } else { 1 + next() % 24 };
            // Every fourth text repeats a few pieces, which is what a search with backtracking fears.
            let few: Vec<&str> =
                (0..if round % 4 == 0 { 3 } else { pieces.len() }).map(|_| pieces[next() % pieces.len()]).collect();
            let text: String = (0..length).map(|_| few[next() % few.len()]).collect();
            let began = std::time::Instant::now();
            let _ = Rule::compile(&text, &values(0.0, 0.0));
            slowest = slowest.max((began.elapsed(), text));
        }
        for text in [
            format!("{}1{}", "[".repeat(16), "]".repeat(16)),
            format!("{}1{}", "{1:".repeat(16), "}".repeat(16)),
            format!("{}1", "true ? 1 : ".repeat(16)),
            "a.".repeat(400) + "b",
            "1 < ".repeat(200) + "2",
            "-(".repeat(16) + "1" + &")".repeat(16),
        ] {
            let began = std::time::Instant::now();
            let _ = Rule::compile(&text, &values(0.0, 0.0));
            slowest = slowest.max((began.elapsed(), text));
        }
        println!("the slowest took {:?}: {:.80}", slowest.0, slowest.1);
        assert!(slowest.0 < LONGEST, "{slowest:?}");
    }

    #[test]
    fn long_chains_are_evaluated_and_cost_no_stack() {
        let chain = format!("{}true", "true && ".repeat(120));
        assert!(Rule::compile(&chain, &values(0.0, 0.0)).unwrap().holds(&values(0.0, 0.0)).unwrap());
        let minus = format!("{}1 < 2", "-".repeat(900));
        let _ = Rule::compile(&minus, &values(0.0, 0.0));
        let not = format!("{}true", "!".repeat(900));
        let _ = Rule::compile(&not, &values(0.0, 0.0));
    }
}
