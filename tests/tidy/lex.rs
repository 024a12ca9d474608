//! Enough of Rust's lexical rules to search code without being misled by comments and strings.
//!
//! Not a parser: macros are seen as the tokens they are given, and a path is what is written, not
//! what it resolves to.

/// The source with every comment, string and character literal replaced by spaces; lines keep
/// their numbers.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1);
    match chars[at] {
        '/' if next == Some(&'/') => chars[at..]
            .iter()
            .position(|c| *c == '\n')
            .map_or(chars.len(), |n| at + n),
        '/' if next == Some(&'*') => block_comment_end(chars, at),
        '"' => quoted_end(chars, at + 1, '"'),
        '\'' if next == Some(&'\\') => quoted_end(chars, at + 1, '\''),
        '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
        'r' if at == 0 || !is_word(chars[at - 1]) || is_string_prefix(chars, at) => {
            raw_string_end(chars, at)
        }
        _ => at,
    }
}

/// Whether the `r` at `at` is the second letter of a `br"..."` or `cr"..."` prefix.
fn is_string_prefix(chars: &[char], at: usize) -> bool {
    matches!(chars[at - 1], 'b' | 'c') && (at == 1 || !is_word(chars[at - 2]))
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], from: usize, quote: char) -> usize {
    let mut i = from;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            c if c == quote => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let mut i = open + 1;
    while i < chars.len() {
        let closes =
            chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    chars.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A word or a mark of the code, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(is_word)
    }
}

/// Splits code (see [`code_only`]) into words, `::` and single marks.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            out.push(Token {
                line: index + 1,
                text: rest[..len].to_owned(),
            });
            rest = rest[len..].trim_start();
        }
    }
    out
}

/// A path as written, with import trees spelled out: `use a::{b, c::d};` gives `a::b` and
/// `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Path {
    /// Whether the path is `prefix` or lies below it.
    pub(crate) fn is_under(&self, prefix: &str) -> bool {
        self.text
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }
}

/// All paths of two or more segments, and all imports.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts_import = tokens[at].is("use")
            && tokens
                .get(at + 1)
                .is_some_and(|t| t.is_word() || t.is("::") || t.is("{"));
        if starts_import {
            at = import_tree(tokens, at + 1, "", &mut out);
        } else if tokens[at].is_word() {
            at = plain_path(tokens, at, &mut out);
        } else {
            at += 1;
        }
    }
    out
}

fn plain_path(tokens: &[Token], start: usize, out: &mut Vec<Path>) -> usize {
    let mut text = tokens[start].text.clone();
    let mut at = start + 1;
    while at + 1 < tokens.len() && tokens[at].is("::") && tokens[at + 1].is_word() {
        text = join(&text, &tokens[at + 1].text);
        at += 2;
    }
    if text.contains("::") {
        out.push(Path {
            line: tokens[start].line,
            text,
        });
    }
    at
}

fn import_tree(tokens: &[Token], start: usize, prefix: &str, out: &mut Vec<Path>) -> usize {
    let mut text = prefix.to_owned();
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is("}")) {
                    at = import_tree(tokens, at, &text, out);
                    if tokens.get(at).is_some_and(|t| t.is(",")) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 2,
            "," | "}" | ";" => break,
            "self" if !text.is_empty() => at += 1,
            segment => {
                text = join(&text, segment);
                at += 1;
            }
        }
    }
    let line = tokens.get(start).map_or(0, |t| t.line);
    out.push(Path { line, text });
    at
}

fn join(prefix: &str, segment: &str) -> String {
    if prefix.is_empty() {
        segment.to_owned()
    } else {
        format!("{prefix}::{segment}")
    }
}

/// Names of the functions marked `#[test]`, each with the tokens of its body.
pub(crate) fn test_functions(tokens: &[Token]) -> Vec<(&Token, &[Token])> {
    let mut out = Vec::new();
    for at in 0..tokens.len() {
        let marked = ["#", "[", "test", "]"]
            .iter()
            .enumerate()
            .all(|(n, mark)| tokens.get(at + n).is_some_and(|t| t.is(mark)));
        if !marked {
            continue;
        }
        let Some(keyword) = (at..tokens.len()).find(|i| tokens[*i].is("fn")) else {
            continue;
        };
        let Some(name) = tokens.get(keyword + 1) else {
            continue;
        };
        let open = (keyword..tokens.len())
            .find(|i| tokens[*i].is("{"))
            .unwrap_or(tokens.len());
        out.push((name, &tokens[open..block_end(tokens, open)]));
    }
    out
}

/// One past the brace that closes the block opened at `open`.
fn block_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is("{") {
            depth += 1;
        } else if token.is("}") {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

#[test]
fn comments_and_literals_become_spaces_and_lines_keep_their_numbers() {
    let source = "a /* x\n /* y */ z */ b // c\n\"d\\\" e\" f '\\'' g 'h' i<'life> r#\"j\"k\"# l br\"m\" n r#o";
    let code = code_only(source);
    let words: Vec<(usize, String)> = tokens(&code)
        .into_iter()
        .filter(Token::is_word)
        .map(|t| (t.line, t.text))
        .collect();
    let expected = [
        (1, "a"),
        (2, "b"),
        (3, "f"),
        (3, "g"),
        (3, "i"),
        (3, "life"),
        (3, "l"),
        (3, "b"),
        (3, "n"),
        (3, "r"),
        (3, "o"),
    ];
    let expected: Vec<(usize, String)> = expected
        .into_iter()
        .map(|(line, word)| (line, word.to_owned()))
        .collect();
    assert_eq!(words, expected);
}

#[test]
fn import_trees_are_spelled_out() {
    let source = "use std::{fs as disk, io::{self, Read as _}, net::*};\nlet x = std::thread::current();\nfn f() -> impl Sized + use<'_> {}";
    let found: Vec<(usize, String)> = paths(&tokens(source))
        .into_iter()
        .map(|p| (p.line, p.text))
        .collect();
    let expected = [
        (1, "std::fs"),
        (1, "std::io"),
        (1, "std::io::Read"),
        (1, "std::net::*"),
        (2, "std::thread::current"),
    ];
    let expected: Vec<(usize, String)> = expected
        .into_iter()
        .map(|(line, path)| (line, path.to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn test_functions_come_with_their_bodies() {
    let source = "#[test]\n#[should_panic]\nfn one() { a(); { b() } }\nfn two() { c() }";
    let tokens = tokens(source);
    let found = test_functions(&tokens);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0.text, "one");
    assert!(found[0].1.iter().any(|t| t.is("b")));
    assert!(!found[0].1.iter().any(|t| t.is("c")));
}
