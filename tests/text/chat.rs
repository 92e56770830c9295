//! Chat templates with what published ones are made of, and hostile ones.

use super::file_of;
use super::plain_bpe::{Plain, Words};
use crate::common::random_model::{File, Value};
use serde_json::json;
use warpwright::gguf::Gguf;
use warpwright::text::{ChatTemplate, Message, TextError};

fn render(source: &str, messages: &[Message]) -> String {
    ChatTemplate::new(source).unwrap().render(messages, true).unwrap()
}

/// The error of a template: its line and what is wrong.
fn error(source: &str) -> (Option<usize>, String) {
    match render_any(source) {
        Err(TextError::ChatTemplate { line, problem }) => (line, problem),
        other => panic!("{source}: {other:?}"),
    }
}

/// What a template gives, whatever that is.
fn render_any(source: &str) -> Result<String, TextError> {
    ChatTemplate::new(source).and_then(|template| template.render(&[Message::user("hello")], true))
}

fn conversation() -> Vec<Message> {
    vec![
        Message::system("Be kind."),
        Message::user("hello"),
        Message::assistant("<think>\nwell\n</think>\n\nhi"),
        Message::user("bye"),
    ]
}

/// The constructs of Qwen3's template: a namespace, messages in reverse, tests, thoughts that are cut out, tools.
const THINKING: &str = r#"
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\n\n' }}
    {%- endif %}
    {{- "Tools:" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(asks=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.asks and message.role == "user" and message.content is string and not(message.content.startswith('<reply>') and message.content.endswith('</reply>')) %}
        {%- set ns.asks = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thoughts = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thoughts = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thoughts) %}
            {{- '<|im_start|>assistant\n<think>\n' + thoughts.strip('\n') + '\n</think>\n\n' + content }}
        {%- else %}
            {{- '<|im_start|>assistant\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {{- '\n<tool_call>\n{"name": "' ~ call.name ~ '", "arguments": ' ~ call.arguments | tojson ~ '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"#;

#[test]
fn thoughts_are_cut_out() {
    let mut template = ChatTemplate::new(THINKING).unwrap();
    let turns = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n\
                 <|im_start|>assistant\nhi<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n";
    let conversation = conversation();
    assert_eq!(template.render(&conversation, false).unwrap(), turns);
    assert_eq!(template.render(&conversation, true).unwrap(), format!("{turns}<|im_start|>assistant\n"));
    template.set("enable_thinking", true);
    assert_eq!(template.render(&conversation, true).unwrap(), format!("{turns}<|im_start|>assistant\n"));
    template.set("enable_thinking", false);
    let without = format!("{turns}<|im_start|>assistant\n<think>\n\n</think>\n\n");
    assert_eq!(template.render(&conversation, true).unwrap(), without);
    // the last answer keeps its thoughts
    let last = template.render(&conversation[..3], false).unwrap();
    assert!(last.ends_with("<|im_start|>assistant\n<think>\nwell\n</think>\n\nhi<|im_end|>\n"), "{last}");
}

#[test]
fn tools_and_other_messages_are_json_as_python_writes_it() {
    let mut template = ChatTemplate::new(THINKING).unwrap();
    template.set("tools", json!([{"type": "function", "function": {"name": "f", "tags": ["<a>", "é'"], "n": 1.5}}]));
    let arguments = json!({"z": 1, "a": [true, null]});
    let messages = [
        json!({"role": "user", "content": "go"}),
        json!({"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments": arguments}]}),
    ];
    let shown = template.render(&messages, false).unwrap();
    // serde_json sorts the keys of what it is given, and the template keeps their order
    let tool = r#"{"function": {"n": 1.5, "name": "f", "tags": ["<a>", "é'"]}, "type": "function"}"#;
    let call = r#"{"name": "f", "arguments": {"a": [true, null], "z": 1}}"#;
    let expected = format!(
        "<|im_start|>system\nTools:\n{tool}<|im_end|>\n<|im_start|>user\ngo<|im_end|>\n\
         <|im_start|>assistant\n<think>\n\n</think>\n\n\n<tool_call>\n{call}\n</tool_call><|im_end|>\n"
    );
    assert_eq!(shown, expected);
    assert_eq!(
        render("{{ {'b': 1, 'a': 'ü🦀'} | tojson(ensure_ascii=true) }}", &[]),
        r#"{"b": 1, "a": "\u00fc\ud83e\udd80"}"#
    );
    assert_eq!(render("{{ [1, {'a': []}] | tojson(indent=2) }}", &[]), "[\n  1,\n  {\n    \"a\": []\n  }\n]");
    assert!(error("{{ 1 | tojson(indent=1000) }}").1.contains("an indent of 1000 is over 64"));
    assert!(error("{{ 1 | tojson(compact=true) }}").1.contains("compact"));
}

#[test]
fn templates_are_jinja_as_hugging_face_runs_it() {
    let messages = conversation();
    // blocks take no lines of their own
    let source = "{% for message in messages %}\n    {% if loop.index is odd %}\n{{ loop.index }} {{ message.role }}\n    {% endif %}\n{% endfor %}\n";
    assert_eq!(render(source, &messages), "1 system\n3 assistant\n");
    let macros = "{% macro turn(role, text='-') %}[{{ role | upper }}: {{ text | trim }}]{% endmacro %}\
                  {{ turn('user', ' a ') }}{{ turn(role='tool') }}";
    assert_eq!(render(macros, &messages), "[USER: a][TOOL: -]");
    let controls = "{% for message in messages %}{% if loop.first %}{% continue %}{% endif %}{{ message.role }}{% break %}{% endfor %}";
    assert_eq!(render(controls, &messages), "user");
    let methods = "{{ 'a-b'.split('-') | join('+') }} {{ ' x'.strip() }} {{ messages[0].get('name', 'none') }} \
                   {{ messages[0].items() | list | length }} {{ 'B'.lower() }} {{ 'abc'.replace('b', '') }} {{ messages[-1]['content'] }}";
    assert_eq!(render(methods, &messages), "a+b x none 2 b ac bye");
    assert_eq!(
        render("{{ missing }}{{ messages[1:] | map(attribute='role') | join(',') }}", &messages),
        "user,assistant,user"
    );
    assert_eq!(render("{{ '<&>' }}", &messages), "<&>", "no HTML");
    let year: u32 = render("{{ strftime_now('%Y') }}", &messages).parse().unwrap();
    assert!((2024..2200).contains(&year));
    assert!(error("{{ strftime_now('%!') }}").1.contains("strftime_now"));
    let refuses = "{% if messages[0].role != 'system' %}\n{{ raise_exception('no system message') }}{% endif %}";
    assert_eq!(error(refuses), (Some(2), "no system message".to_owned()));
    let shown = TextError::ChatTemplate { line: Some(2), problem: "no system message".to_owned() }.to_string();
    assert_eq!(shown, "the chat template, line 2: no system message");
}

#[test]
fn templates_come_from_files() {
    let mut file = File::default();
    let none = ChatTemplate::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap()).unwrap_err();
    assert_eq!(none, TextError::NoChatTemplate);
    file.set("tokenizer.chat_template", Value::U32(1));
    let error = ChatTemplate::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the key `tokenizer.chat_template` is a u32, and should be a string");

    let tokens = ["a", "<s>", "</s>"].map(str::to_owned).to_vec();
    let mut file = file_of(&Plain { words: Words::Qwen2, tokens, merges: Vec::new(), added: Vec::new() }, "qwen2");
    file.set(
        "tokenizer.chat_template",
        Value::Text("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}".to_owned()),
    );
    file.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    let hello = |file: &File| {
        let template = ChatTemplate::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap()).unwrap();
        template.render(&[Message::user("hello")], false).unwrap()
    };
    assert_eq!(hello(&file), "<s>hello");
    file.set("tokenizer.ggml.eos_token_id", Value::U32(2));
    assert_eq!(hello(&file), "<s>hello</s>");
    file.set("tokenizer.ggml.eos_token_id", Value::U32(3));
    assert_eq!(hello(&file), "<s>hello");

    let chatml = ChatTemplate::chatml().unwrap().render(&[Message::user("hello")], true).unwrap();
    assert_eq!(chatml, "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
}

#[test]
fn hostile_templates_end() {
    let thousand = "{% for a in range(1000) %}";
    let ends = "{% endfor %}";
    let loops = format!("{}x{}", thousand.repeat(5), ends.repeat(5));
    assert_eq!(error(&loops).1, "it takes more than 1000000 instructions");
    let long = format!("{}{{{{ x }}}}{}", "{% set x = 'x' * 90000 %}".to_owned() + &thousand.repeat(2), ends.repeat(2));
    assert_eq!(error(&long).1.matches("it writes more than 16777216 bytes").count(), 1);
    let (line, problem) = error("{% macro f(x) %}{{ f(x) }}{% endmacro %}\n{{ f(1) }}");
    assert!(line.is_some() && problem.contains("recursion"), "{line:?}: {problem}");
    // as deep as it goes
    let source = |open: &str, middle: &str, close: &str| {
        let count = 65_000 / (open.len() + close.len());
        format!("{}{middle}{}", open.repeat(count), close.repeat(count))
    };
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("not ", "1", ""),
        ("-", "1", ""),
        ("1+", "1", ""),
        ("1~", "1", ""),
        ("1 and ", "1", ""),
        ("1 if ", "1", ""),
        ("", "1 if 1", " else 1 if 1"),
        ("", "messages", ".a"),
        ("", "messages", "[0]"),
        ("", "1", "|string"),
        ("", "1", "<1"),
        ("", "messages", "()"),
    ] {
        // some are right, and give something; none brings the program down
        let _ = render_any(&format!("{{{{ {} }}}}", source(open, middle, close)));
    }
    for block in ["{% if true %}", "{% for a in [1] %}", "{% macro f() %}", "{% set x %}"] {
        assert!(render_any(&source(block, "", "")).is_err());
    }
    let _ = render_any(&format!("{{% if 0 %}}{}{{% endif %}}", source("{% elif 0 %}", "", "")));
    let nested =
        "{% set ns = namespace(x=[]) %}".to_owned() + &thousand.repeat(2) + "{% set ns.x = [ns.x] %}" + &ends.repeat(2);
    assert!(error(&nested).1.contains("instructions"));
    let nested = nested.replacen("range(1000)", "range(100)", 1);
    assert!(render_any(&nested).is_ok());
    for written in ["{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x | string | length }}", "{{ ns.x == [ns.x] }}"] {
        let _ = render_any(&(nested.clone() + written));
    }
    let long = "x".repeat(65_537);
    assert_eq!(error(&long).1, "it is 65537 bytes long, and may be 65536");
    for (source, line) in [
        ("{{ 'open", Some(1)),
        ("\n{% nothing %}", Some(2)),
        ("{{ messages.foo.bar }}", Some(1)),
        ("{{ 1 // 0 }}", Some(1)),
        ("{{ range(1000000000) }}", Some(1)),
        ("{{ 'a' * 1000000000000 }}", Some(1)),
        ("{% include 'other' %}", Some(1)),
        ("{{ messages[0].content.foo() }}", Some(1)),
        ("{{ nothing() }}", Some(1)),
    ] {
        assert_eq!(error(source).0, line, "{source}");
    }
}
