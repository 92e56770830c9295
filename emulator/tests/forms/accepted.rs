//! The forms that the decoder accepts: the spellings of docs/ptx-support.md, which is made from the decoder's tables and
//! checked to be current, with every word at every place that has a meaning. At the places of hints, which the page
//! names, each word is a form of its own once for each spelling.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::Check;

/// A place of a spelling: the words that may stand there, each divided at its dots, and what kind of place it is.
struct Place {
    words: Vec<Vec<String>>,
    optional: bool,
    hint: bool,
}

/// One line of the page.
pub struct Spelling {
    text: String,
    places: Vec<Place>,
}

impl Spelling {
    fn new(text: &str, hints: &BTreeSet<&str>) -> Self {
        let (mut places, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = match rest.starts_with('{') {
                true => rest.find('}').expect("a brace that closes") + 1,
                false => rest.find('.').unwrap_or(rest.len()),
            };
            let (place, after) = rest.split_at(end);
            let optional = after.starts_with('?');
            rest = after.strip_prefix('?').unwrap_or(after);
            let words: Vec<&str> = place.trim_matches(['{', '}']).split(',').collect();
            let hint = optional && words.iter().all(|word| hints.contains(word));
            let words = words.into_iter().map(|word| word.split('.').map(str::to_owned).collect()).collect();
            places.push(Place { words, optional, hint });
        }
        Self { text: text.to_owned(), places }
    }

    /// Every opcode that it spells without hints.
    fn opcodes(&self) -> Vec<String> {
        let mut all = vec![String::new()];
        for place in self.places.iter().filter(|place| !place.hint) {
            let with = |start: &String, word: &[String]| match start.as_str() {
                "" => word.join("."),
                _ => format!("{start}.{}", word.join(".")),
            };
            let mut longer: Vec<String> =
                all.iter().flat_map(|start| place.words.iter().map(move |word| with(start, word))).collect();
            if place.optional {
                longer.extend(all);
            }
            all = longer;
        }
        all
    }

    /// The word at each place in an opcode, if it is spelled so.
    fn matched(&self, opcode: &[&str]) -> Option<Vec<Option<usize>>> {
        let mut found = Vec::new();
        matches(&self.places, opcode, &mut found).then_some(found)
    }
}

fn matches(places: &[Place], opcode: &[&str], found: &mut Vec<Option<usize>>) -> bool {
    let Some((place, others)) = places.split_first() else { return opcode.is_empty() };
    for (n, word) in place.words.iter().enumerate() {
        if opcode.len() >= word.len() && word.iter().zip(opcode).all(|(a, b)| a == b) {
            found.push(Some(n));
            if matches(others, &opcode[word.len()..], found) {
                return true;
            }
            found.pop();
        }
    }
    if place.optional {
        found.push(None);
        if matches(others, opcode, found) {
            return true;
        }
        found.pop();
    }
    false
}

/// What the page lists.
pub struct Accepted {
    spellings: HashMap<String, Vec<Spelling>>,
    registers: BTreeSet<String>,
}

impl Accepted {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ptx-support.md");
        let page = std::fs::read_to_string(&path).expect("the page of the documentation");
        let section = |title: &str| {
            let (_, rest) = page.split_once(&format!("## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
            let (_, rest) = rest.split_once("```text\n").expect("a list");
            rest.split_once("```").expect("an end of the list").0.lines().collect::<Vec<_>>()
        };
        let hints = section("Hints").into_iter().flat_map(|line| line.split(' ')).collect();
        let mut spellings: HashMap<String, Vec<Spelling>> = HashMap::new();
        for title in ["Instructions with operands of their own", "Instructions from registers to registers"] {
            for line in section(title) {
                let spelling = Spelling::new(line, &hints);
                let roots: Vec<String> = spelling.places[0].words.iter().map(|root| root[0].clone()).collect();
                for root in roots {
                    spellings.entry(root).or_default().push(Spelling::new(line, &hints));
                }
            }
        }
        let mut registers = BTreeSet::new();
        for line in section("Special registers") {
            match line.split_once("0 to ") {
                Some((name, last)) => {
                    let last: u32 = last[name.len()..].parse().expect("a number");
                    registers.extend((0..=last).map(|n| format!("{name}{n}")));
                }
                None => drop(registers.insert(line.to_owned())),
            }
        }
        Self { spellings, registers }
    }

    /// What `checks` lack, and what they have that is not accepted.
    pub fn compare(&self, checks: &[Check]) -> (BTreeSet<String>, BTreeSet<String>) {
        let checked: BTreeSet<&str> = checks.iter().flat_map(|check| &check.forms).map(|form| opcode(form)).collect();
        let used: BTreeSet<&str> =
            checks.iter().flat_map(|check| &check.forms).filter_map(|form| special_register(form)).collect();
        let mut missing: BTreeSet<String> =
            self.registers.iter().filter(|name| !used.contains(name.as_str())).cloned().collect();
        let mut unknown: BTreeSet<String> =
            used.iter().filter(|name| !self.registers.contains(**name)).map(|name| (*name).to_owned()).collect();
        // the words at hints that a spelling has
        let mut hints: BTreeSet<(&str, usize, usize)> = BTreeSet::new();
        for &opcode in &checked {
            let words: Vec<&str> = opcode.split('.').collect();
            let mut known = false;
            for spelling in self.spellings.get(words[0]).into_iter().flatten() {
                let Some(found) = spelling.matched(&words) else { continue };
                known = true;
                hints.extend(
                    found.iter().enumerate().filter_map(|(n, word)| word.map(|word| (&*spelling.text, n, word))),
                );
            }
            if !known {
                unknown.insert(opcode.to_owned());
            }
        }
        for (root, spelling) in self.spellings.iter().flat_map(|(root, all)| all.iter().map(move |one| (root, one))) {
            let of_root = |opcode: &String| opcode.split('.').next() == Some(root);
            missing.extend(
                spelling.opcodes().into_iter().filter(of_root).filter(|opcode| !checked.contains(opcode.as_str())),
            );
            for (n, place) in spelling.places.iter().enumerate().filter(|(_, place)| place.hint) {
                for (word, name) in place.words.iter().enumerate() {
                    if !hints.contains(&(&spelling.text, n, word)) {
                        missing.insert(format!("{root} with the hint .{} in {}", name.join("."), spelling.text));
                    }
                }
            }
        }
        (missing, unknown)
    }
}

/// The opcode of a form.
pub fn opcode(form: &str) -> &str {
    let form = form.strip_prefix("@p ").or(form.strip_prefix("@!p ")).unwrap_or(form);
    form.split(' ').next().unwrap_or_default()
}

/// The special register that a form reads.
pub fn special_register(form: &str) -> Option<&str> {
    form.split([' ', ',']).find(|word| word.starts_with('%'))
}

/// The first opcode or special register of forms that is in none of the modules.
pub fn not_in(modules: &[String], forms: &[String]) -> Option<String> {
    let separates = |c: char| c.is_whitespace() || ";,{}".contains(c);
    let words: HashSet<&str> = modules.iter().flat_map(|module| module.split(separates)).collect();
    let named = forms.iter().flat_map(|form| [opcode(form)].into_iter().chain(special_register(form)));
    named.filter(|name| !words.contains(name)).map(str::to_owned).next()
}

#[test]
fn spellings_are_expanded() {
    let hints = BTreeSet::from(["ca", "cg", "L2::cache_hint"]);
    let spelling = Spelling::new("{ld,st}.{ca,cg}?.{v2}?.{L2::cache_hint}?.{f16,rn.f32}", &hints);
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    let expected =
        ["ld.f16", "ld.rn.f32", "ld.v2.f16", "ld.v2.rn.f32", "st.f16", "st.rn.f32", "st.v2.f16", "st.v2.rn.f32"];
    assert_eq!(sorted(spelling.opcodes()), expected);
    let matched = |opcode: &str| spelling.matched(&opcode.split('.').collect::<Vec<_>>());
    assert_eq!(matched("st.cg.rn.f32"), Some(vec![Some(1), Some(1), None, None, Some(1)]));
    assert_eq!(matched("ld.v2.L2::cache_hint.f16"), Some(vec![Some(0), None, Some(0), Some(0), Some(0)]));
    for wrong in ["ld", "ld.f32", "ld.v2.cg.f16", "ld.f16.f16", "ldu.f16"] {
        assert_eq!(matched(wrong), None, "{wrong}");
    }
    assert_eq!(opcode("@!p mov.u32 r, %tid.x"), "mov.u32");
    assert_eq!(special_register("@p mov.u32 r, %tid.x"), Some("%tid.x"));
}

#[test]
fn what_has_no_check_is_missing() {
    let accepted = Accepted::read();
    let (missing, unknown) = accepted.compare(&[]);
    assert!(missing.len() > 15_000 && unknown.is_empty(), "{} forms", missing.len());
    for form in ["exit", "add.u32", "ld.acquire.cluster.shared.v2.b64", "%tid.x", "%envreg31", "setp.lt.xor.ftz.f32"] {
        assert!(missing.contains(form), "{form}");
    }
    let checks = |forms: &[&str]| {
        vec![Check { forms: forms.iter().map(|form| (*form).to_owned()).collect(), run: Box::new(|| {}) }]
    };
    let (fewer, unknown) = accepted.compare(&checks(&["@p exit", "mov.u32 r, %tid.x", "ld.global.cg.u32 r, [d]"]));
    assert!(unknown.is_empty());
    let found: Vec<&String> = missing.difference(&fewer).collect();
    // a hint in one place of the spellings, which is no check of the form without it
    assert!(found.len() == 4 && found[2].starts_with("ld with the hint .cg in ld.{weak}?"), "{found:?}");
    let (_, unknown) = accepted.compare(&checks(&["exit.uni", "mov.u32 r, %nothing", "ld.global.v4.v4.u32"]));
    assert_eq!(Vec::from_iter(unknown), ["%nothing", "exit.uni", "ld.global.v4.v4.u32"]);
    let modules = ["{ mov.u32 %r1, %tid.x; @%p1 exit; }".to_owned()];
    let forms = |forms: &[&str]| forms.iter().map(|form| (*form).to_owned()).collect::<Vec<_>>();
    assert_eq!(not_in(&modules, &forms(&["@p exit", "mov.u32 r, %tid.x"])), None);
    assert_eq!(not_in(&modules, &forms(&["@p exit", "mov.u32 r, %tid.y"])).as_deref(), Some("%tid.y"));
}
