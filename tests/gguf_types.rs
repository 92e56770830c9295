//! The types of tensors in files: every format is written and read, and what the number 42 means is told or asked for.

use warpwright::gguf::Q2Layout::{Q2_0, Q2_0G128, Tq2_0G128};
use warpwright::gguf::{ArrayBuf, Gguf, GgufError, Header, OpenOptions, Q2Layout, TensorType, Value, WriteError};
use warpwright::quant::Format;

/// A file with tensors `t0`, `t1`, ... of a type and these dimensions, and perhaps one of F32 after them.
fn file(ty: TensorType, tensors: &[&[u64]], then: bool, alignment: u32) -> Vec<u8> {
    let mut header = Header::new();
    header.set("general.alignment", Value::U32(alignment)).unwrap();
    for (n, dimensions) in tensors.iter().enumerate() {
        header.tensor(&format!("t{n}"), dimensions, ty).unwrap();
    }
    if then {
        header.tensor("then", &[1], TensorType::F32).unwrap();
    }
    let size = header.data_size();
    let mut writer = header.start(Vec::new()).unwrap();
    writer.data(&vec![1; size as usize]).unwrap();
    writer.finish().unwrap()
}

/// What `general.quantization_version` says.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    Absent,
    Number,
    Text(&'static str),
}

const MARK: Version = Version::Text("TQ2_0_G128");

/// A file of tensors of number 42, each with its dimensions and the bytes that it takes, all after 64 bytes of F32.
fn raw(version: Version, tensors: &[(&[u64], u64)], alignment: u64) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend((tensors.len() as u64 + 1).to_le_bytes());
    bytes.extend(if version == Version::Absent { 1u64 } else { 2 }.to_le_bytes());
    text(&mut bytes, "general.alignment");
    bytes.extend([10u32.to_le_bytes().as_slice(), &alignment.to_le_bytes()].concat());
    if version != Version::Absent {
        text(&mut bytes, "general.quantization_version");
    }
    match version {
        Version::Absent => {}
        Version::Number => bytes.extend([4u32.to_le_bytes(), 2u32.to_le_bytes()].concat()),
        Version::Text(value) => {
            bytes.extend(8u32.to_le_bytes());
            text(&mut bytes, value);
        }
    }
    let mut offset = 0u64;
    let first: (&[u64], u64) = (&[16], 64);
    for (n, (dimensions, size)) in [first].iter().chain(tensors).enumerate() {
        text(&mut bytes, &format!("t{n}"));
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
        bytes.extend(if n == 0 { 0u32 } else { 42 }.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += size.next_multiple_of(alignment);
    }
    bytes.resize(bytes.len().next_multiple_of(alignment as usize), 0);
    // The end is not padded.
    let last = tensors.last().unwrap().1;
    bytes.resize(bytes.len() + (offset - last.next_multiple_of(alignment) + last) as usize, 0);
    bytes
}

/// The layout of a file.
fn told(bytes: &[u8], q2_0: Option<Q2Layout>) -> Result<Q2Layout, GgufError> {
    let gguf = Gguf::from_bytes_with(bytes.to_vec(), &OpenOptions { q2_0 })?;
    let types: Vec<TensorType> = gguf.tensors().skip(1).map(|tensor| tensor.ty).collect();
    assert!(types.iter().all(|ty| *ty == types[0]), "one layout in a file");
    Ok(Q2Layout::ALL.into_iter().find(|layout| layout.tensor_type() == types[0]).unwrap())
}

/// The bytes of so many weights in blocks of 64 and of 128.
fn sizes(weights: u64) -> (u64, u64) {
    (weights / 64 * 18, weights / 128 * 34)
}

#[test]
fn number_42_is_told_by_size_and_key() {
    let dimensions: &[u64] = &[512, 40];
    let (small, large) = (sizes(512 * 40).1, sizes(512 * 40).0);
    for count in [1, 3] {
        let of = |version, size| raw(version, &vec![(dimensions, size); count], 32);
        assert_eq!(told(&of(Version::Number, large), None), Ok(Q2_0));
        assert_eq!(told(&of(Version::Absent, large), None), Ok(Q2_0));
        assert_eq!(told(&of(Version::Number, small), None), Ok(Q2_0G128));
        assert_eq!(told(&of(MARK, small), None), Ok(Tq2_0G128));
    }
    // Rows that are no blocks of 128 can only be of 64.
    assert_eq!(told(&raw(Version::Number, &[(&[64], 18)], 32), None), Ok(Q2_0));
    // One tensor that is large enough tells for those that are not, wherever it stands.
    let tiny: (&[u64], u64) = (&[128], 34);
    assert_eq!(told(&raw(Version::Number, &[tiny, (dimensions, small), tiny], 64), None), Ok(Q2_0G128));
    let tiny: (&[u64], u64) = (&[128], 36);
    assert_eq!(told(&raw(Version::Number, &[(dimensions, large), tiny, tiny], 64), None), Ok(Q2_0));
    // The last tells too where the file ends with it.
    assert_eq!(told(&raw(Version::Number, &[(&[128], 34), (&[128], 36)], 64), None), Ok(Q2_0));
}

#[test]
fn number_42_is_not_guessed() {
    let ambiguous = |choices: &[Q2Layout]| GgufError::Q2Ambiguous { tensor: "t1".into(), choices: choices.to_vec() };
    // 34 or 36 bytes, and then padding.
    let tiny = raw(Version::Number, &[(&[128], 64)], 64);
    assert_eq!(told(&tiny, None), Err(ambiguous(&[Q2_0, Q2_0G128])));
    let unmarked = raw(Version::Absent, &[(&[128], 64)], 64);
    assert_eq!(told(&unmarked, None), Err(ambiguous(&Q2Layout::ALL)));
    for layout in Q2Layout::ALL {
        assert_eq!(told(&unmarked, Some(layout)), Ok(layout));
    }
    // The mark is enough where the size allows it.
    assert_eq!(told(&raw(MARK, &[(&[128], 64)], 64), None), Ok(Tq2_0G128));
    // Blocks of 34 bytes, and nothing that says whose, or something that nobody writes.
    let (large, small) = sizes(512 * 40);
    for version in [Version::Absent, Version::Text("Q2_0")] {
        let file = raw(version, &[(&[512, 40], small)], 32);
        assert_eq!(told(&file, None), Err(ambiguous(&[Q2_0G128, Tq2_0G128])));
        assert_eq!(told(&file, Some(Tq2_0G128)), Ok(Tq2_0G128));
        assert_eq!(told(&file, Some(Q2_0G128)), Ok(Q2_0G128));
    }
    let message = told(&unmarked, None).unwrap_err().to_string();
    assert!(message.contains("`t1`") && message.contains("q2_0, q2_0_g128, tq2_0_g128 are possible"), "{message}");
    assert!(message.contains("`OpenOptions::q2_0`") && message.contains("`--q2-layout`"), "{message}");
    // Room for either, and the end is where neither would have it.
    let gap = raw(Version::Number, &[(&[512, 40], large + 320)], 32);
    assert_eq!(told(&gap, None), Err(ambiguous(&[Q2_0, Q2_0G128])));
    assert_eq!(told(&gap, Some(Q2_0)), Ok(Q2_0));
    // A file of blocks of 64 that was cut off has room for blocks of 128, but does not become one.
    let cut = raw(Version::Number, &[(&[512, 40], large - 100)], 32);
    assert_eq!(told(&cut, None), Err(ambiguous(&[Q2_0G128])));
}

#[test]
fn sizes_contradict() {
    let (large, small) = sizes(512 * 40);
    let dimensions: &[u64] = &[512, 40];
    let of = |version, size| raw(version, &[(dimensions, size)], 32);
    let contradicted = |result: Result<Q2Layout, GgufError>, expected: Q2Layout, says: &str| match result {
        Err(GgufError::Q2Contradicted { tensor, layout, says: found, .. }) => {
            assert_eq!((tensor.as_str(), layout), ("t1", expected));
            assert!(found.contains(says), "{found}");
        }
        other => panic!("{other:?}"),
    };
    contradicted(told(&of(Version::Number, large), Some(Q2_0G128)), Q2_0G128, "the caller says");
    contradicted(told(&of(Version::Number, large), Some(Tq2_0G128)), Tq2_0G128, "the caller says");
    contradicted(told(&of(Version::Number, small), Some(Q2_0)), Q2_0, "the caller says");
    contradicted(told(&of(MARK, large), None), Tq2_0G128, "`general.quantization_version` says");
    contradicted(told(&raw(MARK, &[(&[64], 18)], 32), None), Tq2_0G128, "`general.quantization_version` says");
    let mixed = raw(Version::Number, &[(dimensions, small), (dimensions, large)], 32);
    contradicted(told(&mixed, None), Q2_0, "the size of the tensor `t2`");
    // A file that is too short for any layout is just that.
    let short = told(&of(Version::Number, 1000), Some(Q2_0)).unwrap_err();
    assert!(matches!(short, GgufError::PastEnd { .. }), "{short}");
}

#[test]
fn every_format_is_written_and_read() {
    for format in Format::ALL {
        let ty = TensorType::from(format);
        assert_eq!(ty.format(), Some(format));
        assert_eq!(ty.block(), (format.block() as u64, format.block_bytes() as u64), "{format}");
        assert_eq!(ty.to_string(), format.to_string());
        for version in [2, 3] {
            let mut bytes = file(ty, &[&[512, 40], &[256, 3, 2]], true, 32);
            bytes[4] = version;
            let gguf = Gguf::from_bytes(bytes).unwrap_or_else(|error| panic!("{format}: {error}"));
            let tensors: Vec<_> = gguf.tensors().map(|tensor| (tensor.name, tensor.ty, tensor.data.len())).collect();
            let size = |elements: usize| elements / format.block() * format.block_bytes();
            let expected = [("t0", ty, size(512 * 40)), ("t1", ty, size(256 * 6)), ("then", TensorType::F32, 4)];
            assert_eq!((gguf.version(), tensors), (version.into(), expected.to_vec()));
        }
    }
    for (id, ty) in [(142, TensorType::PQ2_0), (143, TensorType::PTQ1_0), (35, TensorType::TQ2_0)] {
        assert_eq!((TensorType::from_id(id), ty.id()), (Some(ty), id));
    }
    assert_eq!(TensorType::from_id(42), None, "it has three meanings");
    assert!([TensorType::Q2_0, TensorType::Q2_0_G128, TensorType::TQ2_0_G128].iter().all(|ty| ty.id() == 42));
    for layout in Q2Layout::ALL {
        assert_eq!(layout.to_string().parse(), Ok(layout));
        assert_eq!(layout.tensor_type().to_string().to_lowercase(), layout.to_string());
    }
    assert!("q2".parse::<Q2Layout>().unwrap_err().contains("q2_0_g128"));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let mut header = Header::new();
    header.tensor("a", &[128], TensorType::Q2_0_G128).unwrap();
    let mut failed = |name: &str, dimensions: &[u64], ty| header.tensor(name, dimensions, ty).unwrap_err().to_string();
    assert!(failed("b", &[128], TensorType::Q2_0).contains("`b` is Q2_0, and another is Q2_0_g128"));
    assert_eq!(failed("a", &[1], TensorType::F32), "there are two tensors `a`");
    assert!(failed("b", &[64], TensorType::Q1_0).contains("`b` cannot be [64] of Q1_0: its rows are no whole blocks"));
    assert!(failed("b", &[], TensorType::F32).contains("1 to 4 dimensions"));
    assert!(failed("b", &[1; 5], TensorType::F32).contains("1 to 4 dimensions"));
    assert!(failed("b", &[0], TensorType::F32).contains("no number of elements"));
    assert!(failed("b", &[u64::MAX, 2], TensorType::F32).contains("no number of elements"));
    assert!(failed("b", &[u64::MAX], TensorType::F32).contains("too large"));
    assert!(failed(&"x".repeat(64), &[1], TensorType::F32).contains("has 64 bytes"));
    assert!(failed("", &[1], TensorType::F32).contains("has 0 bytes"));
    let mut alignment = |value| header.set("general.alignment", value).unwrap_err().to_string();
    for wrong in [Value::U32(0), Value::U32(48), Value::U32(1 << 21), Value::U64(32), Value::String("32")] {
        assert!(alignment(wrong).contains("no power of two"), "{wrong}");
    }
    let mixed = ArrayBuf::new([Value::U8(1), Value::I8(1)]).unwrap_err();
    assert_eq!(mixed.to_string(), "an array that begins with a u8 has also an i8");
    let mut nested = ArrayBuf::strings(["x"]);
    for _ in 1..8 {
        nested = ArrayBuf::new([nested.value()]).unwrap();
    }
    header.set("deep", nested.value()).unwrap();
    let deeper = ArrayBuf::new([nested.value()]).unwrap();
    assert!(header.set("deeper", deeper.value()).unwrap_err().to_string().contains("`deeper`"));

    let mut writer = header.clone().start(Vec::new()).unwrap();
    assert_eq!(writer.next_tensor(), Some(("a", 34)));
    writer.data(&[0; 30]).unwrap();
    let error = header.clone().start(Vec::new()).unwrap().finish().unwrap_err();
    assert_eq!(error.to_string(), "the data ends 34 bytes before the end of the tensor `a`");
    writer.data(&[0; 4]).unwrap();
    assert!(matches!(writer.data(&[0; 3]), Err(WriteError::TooMuch { left: 3 })));
    // As deep as is written is read.
    let options = OpenOptions { q2_0: Some(Q2_0G128) };
    let gguf = Gguf::from_bytes_with(writer.finish().unwrap(), &options).unwrap();
    assert_eq!(gguf.value("deep").unwrap().to_string(), "[[[[[[[[\"x\"]]]]]]]]");
}
