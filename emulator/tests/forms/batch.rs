//! Many instructions on the same sources in one kernel, where a kernel for each would take too long.

use super::Check;
use super::common::Bench;
use super::lanewise::{Definition, Expected, Random, Type, frame};

/// One instruction of a batch: the form, how it stands in the kernel (`{d}`, `{a}`, `{b}`, `{c}` are its operands, and
/// `%p8`, `%p9`, `%r30` to `%r33` are free), and what it computes.
pub struct Line {
    pub form: String,
    pub text: String,
    pub definition: Definition,
}

impl Line {
    pub fn new<E: Into<Expected>>(
        form: impl Into<String>,
        text: impl Into<String>,
        definition: impl Fn(&[u64]) -> E + 'static,
    ) -> Self {
        Self { form: form.into(), text: text.into(), definition: Box::new(move |sources| definition(sources).into()) }
    }
}

/// The check of instructions whose destinations and sources have `types`, the destination's first.
pub fn batch(types: &str, lines: Vec<Line>) -> Check {
    let mut kinds = types.split_whitespace().map(Type::of);
    let destination = kinds.next().expect("a destination");
    let sources: Vec<Type> = kinds.collect();
    let forms = lines.iter().map(|line| line.form.clone()).collect();
    Check { forms, run: Box::new(move || lines.chunks(200).for_each(|lines| run(destination, &sources, lines))) }
}

/// Pairs of numbers that are most often got wrong, and random ones.
fn tuples(sources: &[Type]) -> Vec<Vec<u64>> {
    let mut random = Random::new(sources.len() as u64);
    let edges: Vec<Vec<u64>> = sources.iter().map(|ty| ty.edges()).collect();
    let mut tuples: Vec<Vec<u64>> = (0..900)
        .map(|_| edges.iter().map(|edges| edges[random.next() as usize % edges.len()]).collect::<Vec<_>>())
        .collect();
    for n in 0..300 {
        let mut tuple: Vec<u64> = sources.iter().map(|ty| ty.random(&mut random)).collect();
        if n % 3 == 0 && tuple.len() > 1 && sources[0] == sources[1] {
            tuple[1] = tuple[0];
        }
        tuples.push(tuple);
    }
    tuples
}

fn run(destination: Type, sources: &[Type], lines: &[Line]) {
    let tuples = tuples(sources);
    let count = tuples.len();
    let mut body = String::new();
    let mut names = Vec::new();
    for (n, ty) in sources.iter().enumerate() {
        let (register, _) = ty.register(n, true);
        body += &match ty {
            Type::Predicate => format!("ld.global.u32 %r20, [%rd20+{}]; setp.ne.u32 {register}, %r20, 0;\n", 8 * n),
            _ => format!("ld.global.b{} {register}, [%rd20+{}];\n", ty.width(), 8 * n),
        };
        names.push(register);
    }
    let (result, _) = destination.register(9, true);
    let width = destination.width().max(16);
    for (n, line) in lines.iter().enumerate() {
        let mut text = line.text.replace("{d}", &result);
        for (name, register) in ["{a}", "{b}", "{c}", "{e}"].into_iter().zip(&names) {
            text = text.replace(name, register);
        }
        body += &format!("{text}\nst.global.b{width} [%rd21+{}], {result};\n", 8 * n * count);
    }
    let bench = Bench::new(&frame(8 * sources.len(), &body));
    let inputs = bench.upload(&tuples.concat());
    let outputs = bench.upload(&vec![0u64; count * lines.len()]);
    bench.launch([count.div_ceil(80) as u32, 1, 1], [80, 1, 1], &[inputs, outputs, count as u64]).unwrap();
    let found = bench.read_u64(outputs, count * lines.len());
    for (line, found) in lines.iter().zip(found.chunks(count)) {
        for (tuple, &found) in tuples.iter().zip(found) {
            let expected = (line.definition)(tuple);
            let right = match expected {
                Expected::Bits(bits) => found == bits & (u64::MAX >> (64 - width)),
                Expected::Anything => true,
                other => match destination {
                    Type::Float(name, 1) => other.allows(name, found),
                    _ => panic!("{} has no such results", line.form),
                },
            };
            assert!(right, "{} of {tuple:x?}: {found:#x}, expected {expected:x?}", line.text);
        }
    }
}
