//! `wmma`: products of matrices in memory to a matrix in memory, of every shape and type, in every layout and space.

use super::Check;
use super::common::{Bench, kernel};
use super::lanewise::Random;
use super::products::{BF16, F16, F32, Matrix, S8, S32, TF32, Type, U8, names};

const SPACES: [&str; 4] = [".global", ".shared", ".shared::cta", ""];

/// A layout, by rows or by columns, and a space.
#[derive(Clone, Copy)]
struct Place {
    by_column: bool,
    space: &'static str,
}

impl Place {
    fn layout(self) -> &'static str {
        if self.by_column { "col" } else { "row" }
    }

    /// Whether the matrix is in shared memory; generic addresses are there or in global memory.
    fn is_shared(self) -> bool {
        self.space.starts_with(".shared") || self.space.is_empty() && self.by_column
    }

    /// The distance of rows or columns, which is more than they are long.
    fn stride(self, rows: usize, columns: usize) -> usize {
        (if self.by_column { rows } else { columns }) + 32
    }

    /// The words that such a matrix takes.
    fn words(self, ty: Type, rows: usize, columns: usize) -> usize {
        self.stride(rows, columns) * (if self.by_column { columns } else { rows }) * ty.bits / 32
    }

    fn bytes(self, ty: Type, matrix: &Matrix, rows: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; 4 * self.words(ty, rows, matrix.columns)];
        for (row, column) in (0..rows).flat_map(|row| (0..matrix.columns).map(move |column| (row, column))) {
            let at = self.index(row, column, rows, matrix.columns) * ty.bits / 8;
            bytes[at..at + ty.bits / 8].copy_from_slice(&matrix.at(row, column).to_le_bytes()[..ty.bits / 8]);
        }
        bytes
    }

    fn index(self, row: usize, column: usize, rows: usize, columns: usize) -> usize {
        let stride = self.stride(rows, columns);
        if self.by_column { column * stride + row } else { row * stride + column }
    }
}

#[derive(Clone, Copy)]
struct Product {
    shape: (usize, usize, usize),
    /// The types of D, of A and B, and of C.
    types: [Type; 3],
    saturates: bool,
    /// Where A, B, C and D are.
    places: [Place; 4],
}

impl Product {
    /// The opcodes of the loads of A, B and C, of the product, and of the store.
    fn opcodes(&self) -> [String; 5] {
        let ((m, n, k), [d, ab, c], [at_a, at_b, at_c, at_d]) = (self.shape, self.types, self.places);
        let shape = format!("m{m}n{n}k{k}");
        let load = |which: &str, place: Place, ty: Type| {
            format!("wmma.load.{which}.sync.aligned.{}.{shape}{}.{}", place.layout(), place.space, ty.name)
        };
        let types = match ab.name {
            "f16" => format!("{}.{}", d.name, c.name),
            name => format!("{}.{name}.{name}.{}", d.name, c.name),
        };
        let satfinite = if self.saturates { ".satfinite" } else { "" };
        [
            load("a", at_a, ab),
            load("b", at_b, ab),
            load("c", at_c, c),
            format!("wmma.mma.sync.aligned.{}.{}.{shape}.{types}{satfinite}", at_a.layout(), at_b.layout()),
            format!("wmma.store.d.sync.aligned.{}.{shape}{}.{}", at_d.layout(), at_d.space, d.name),
        ]
    }

    fn check(&self, seed: u64) {
        let ((m, n, k), [d_type, ty, c_type], places) = (self.shape, self.types, self.places);
        let mut random = Random::new(seed + 1000);
        let a = Matrix::random(ty, m, k, &mut random);
        let b = Matrix::random(ty, k, n, &mut random);
        let mut c = Matrix::random(c_type, m, n, &mut random);
        if c_type.name == "s32" {
            c.reach_limits();
        }
        let sizes = [(ty, m, k), (ty, k, n), (c_type, m, n), (d_type, m, n)];
        // the addresses of all four, in shared memory after a copy there
        let mut text = String::from(".reg .b32 %t<9>; .reg .b64 %td<9>; mov.u32 %t1, %tid.x;\n");
        let copy = |label: String, words: usize, from: &str, to: &str, load: &str, store: &str| {
            format!(
                "mov.u32 %t2, %t1; {label}: mul.wide.u32 %td1, %t2, 4; add.u64 %td2, {from}, %td1; ld{load}.u32 %t3, [%td2];
                 add.u64 %td2, {to}, %td1; st{store}.u32 [%td2], %t3; add.u32 %t2, %t2, 32; setp.lt.u32 %p1, %t2, {words};
                 @%p1 bra {label}; bar.warp.sync -1;\n"
            )
        };
        let mut back = String::new();
        for (n, (place, (ty, rows, columns))) in places.into_iter().zip(sizes).enumerate() {
            let (words, at) = (place.words(ty, rows, columns), 1024 * 10 * n);
            text += &format!("ld.param.u64 %rd{n}, [p{n}];\n");
            if place.is_shared() {
                let (global, shared) = (format!("%rd{n}"), format!("%rd1{n}"));
                text += &format!("mov.u64 {shared}, shared_matrices; add.u64 {shared}, {shared}, {at};\n");
                // of the result too, so that what lies between its rows is there
                text += &copy(format!("COPY{n}"), words, &global, &shared, ".global", ".shared");
                if n == 3 {
                    back = copy("BACK".into(), words, &shared, &global, ".shared", ".global");
                }
                if place.space.is_empty() {
                    text += &format!("cvta.shared.u64 %rd2{n}, {shared};\n");
                } else {
                    text += &format!("mov.u64 %rd2{n}, {shared};\n");
                }
            } else {
                text += &format!("mov.u64 %rd2{n}, %rd{n};\n");
            }
        }
        let strides: Vec<usize> =
            places.iter().zip(sizes).map(|(place, (_, rows, columns))| place.stride(rows, columns)).collect();
        let count = |elements: usize| elements * ty.bits / 1024;
        let (of_a, of_b) = if ty.name == "f16" { (8, 8) } else { (count(m * k), count(k * n)) };
        let [of_c, of_d] = [c_type, d_type].map(|ty| m * n * ty.bits / 1024);
        let (ra, rb, rc, rd) = (names(0, of_a), names(8, of_b), names(16, of_c), names(24, of_d));
        let [load_a, load_b, load_c, product, store] = self.opcodes();
        text += &format!(
            "{load_a} {{{ra}}}, [%rd20], {}; {load_b} {{{rb}}}, [%rd21], {}; {load_c} {{{rc}}}, [%rd22], {};
             {product} {{{rd}}}, {{{ra}}}, {{{rb}}}, {{{rc}}}; {store} [%rd23], {{{rd}}}, {}; bar.warp.sync -1;\n{back} ret;",
            strides[0], strides[1], strides[2], strides[3]
        );
        let bench = Bench::new(&kernel(4, ".shared .align 32 .b8 shared_matrices[40960];", &text));
        let mut parameters: Vec<u64> = [(&a, m), (&b, k), (&c, m)]
            .into_iter()
            .zip(places.into_iter().zip(sizes))
            .map(|((matrix, rows), (place, (ty, ..)))| bench.upload(&place.bytes(ty, matrix, rows)))
            .collect();
        let words = places[3].words(d_type, m, n);
        parameters.push(bench.upload(&vec![0xeeu8; 4 * words]));
        bench.launch([1, 1, 1], [32, 1, 1], &parameters).unwrap_or_else(|error| panic!("{error}: {text}"));
        let found: Vec<u8> = bench.read_u32(parameters[3], words).into_iter().flat_map(u32::to_le_bytes).collect();
        let mut written = vec![false; found.len()];
        for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let at = places[3].index(row, column, m, n) * d_type.bits / 8;
            let mut word = [0; 4];
            word[..d_type.bits / 8].copy_from_slice(&found[at..at + d_type.bits / 8]);
            written[at..at + d_type.bits / 8].fill(true);
            let found = u32::from_le_bytes(word);
            let products = (0..k).map(|inner| (ty.value)(a.at(row, inner)) * (ty.value)(b.at(inner, column)));
            let start = (c_type.value)(c.at(row, column));
            let (sum, size) = products.fold((start, start.abs()), |(sum, size), p| (sum + p, size + p.abs()));
            let right = match (d_type.name, self.saturates) {
                ("s32", false) => found == sum as i64 as u32,
                ("s32", true) => found == (sum as i64).clamp(i32::MIN.into(), i32::MAX.into()) as u32,
                _ => d_type.is_near(found, sum, size),
            };
            assert!(right, "{product} [{row}, {column}] is {found:#x}, not {sum}: {text}");
        }
        assert!(found.iter().zip(written).all(|(byte, written)| written || *byte == 0xee), "{store} writes too much");
    }
}

pub fn checks() -> Vec<Check> {
    let mut kinds = Vec::new();
    for shape in [(16, 16, 16), (32, 8, 16), (8, 32, 16)] {
        for d in [F16, F32] {
            kinds.extend([F16, F32].map(|c| (shape, [d, F16, c], false)));
        }
        kinds.push((shape, [F32, BF16, F32], false));
        for ty in [S8, U8] {
            kinds.extend([false, true].map(|saturates| (shape, [S32, ty, S32], saturates)));
        }
    }
    kinds.push(((16, 16, 8), [F32, TF32, F32], false));
    let mut checks = Vec::new();
    for (shape, types, saturates) in kinds {
        // every layout of each matrix in every space, and both of A with both of B
        let products: Vec<Product> = (0..8usize)
            .map(|n| {
                let place = |by_column: usize, space: usize| Place { by_column: by_column == 1, space: SPACES[space] };
                let places = [
                    place(n & 1, n >> 1),
                    place(n >> 1 & 1, n & 1 | n >> 2 << 1),
                    place(n >> 2, n & 3),
                    place(n >> 2, (n + 1) & 3),
                ];
                Product { shape, types, saturates, places }
            })
            .collect();
        let forms = products.iter().flat_map(Product::opcodes).collect();
        let run = move || products.iter().enumerate().for_each(|(n, product)| product.check(n as u64));
        checks.push(Check { forms, run: Box::new(run) });
    }
    checks
}
