//! The modules of a crate, and which file imports which.
//!
//! A file imports another if its code names an item that the other defines: in a `use` item or by a
//! path. A name is traced through re-exports to the file that defines it, so a facade adds no arrow
//! to those who come from outside. A facade's own `use` and `pub use` are imports like any other;
//! so a file that takes a name through a facade above itself imports that facade as well, and the
//! two make a circle: siblings import from each other, not from their face. A parent's `mod x;` is
//! no import, and tests don't count.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Kind, Source, Token, close};

/// Names by which a file imports another, by the two files' paths.
pub type Imports = BTreeMap<(String, String), BTreeSet<String>>;

/// A path as it is written, by segment.
type Path = Vec<String>;

pub struct Crate {
    /// By path, such as `crate::store`.
    modules: BTreeMap<Path, Module>,
    /// The files that hold code rather than tests.
    pub files: BTreeSet<String>,
}

#[derive(Default)]
struct Module {
    file: String,
    definitions: BTreeSet<String>,
    /// The paths of `use` items, by the names that they give.
    uses: BTreeMap<String, Path>,
    /// Modules and enums of which a `use` item names everything.
    globs: Vec<Path>,
    /// Paths in code, outside of `use` items.
    paths: BTreeSet<Path>,
}

/// Finds a file's text by its path.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Crate {
    /// Reads the crate from its root's file on.
    pub fn read(root: &str, read: Read) -> Self {
        let mut found = Self {
            modules: BTreeMap::new(),
            files: BTreeSet::new(),
        };
        found.add_file(vec!["crate".to_owned()], root, read);
        found
    }

    fn add_file(&mut self, path: Path, file: &str, read: Read) {
        let text = read(file).unwrap_or_else(|| panic!("{file} isn't there"));
        let code = Source::of(&text).code();
        self.files.insert(file.to_owned());
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        let below = match name {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            name => format!("{folder}/{}", name.trim_end_matches(".rs")),
        };
        self.add_module(path, file, &below, &code, read);
    }

    /// Adds a module of `tokens` and those in it; the files of its children stand below `below`.
    fn add_module(&mut self, path: Path, file: &str, below: &str, tokens: &[Token], read: Read) {
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        let mut at = 0;
        let mut depth = 0;
        while at < tokens.len() {
            let token = &tokens[at];
            match token.text.as_str() {
                "{" if token.kind == Kind::Punct => depth += 1,
                "}" if token.kind == Kind::Punct => depth -= 1,
                _ => {}
            }
            let next = tokens.get(at + 1).filter(|next| next.kind == Kind::Ident);
            if let ("mod", Some(name)) = (&*token.text, next) {
                let child = [&path[..], std::slice::from_ref(&name.text)].concat();
                if tokens[at + 2].is("{") {
                    let end = close(tokens, at + 2);
                    let below = format!("{below}/{}", name.text);
                    self.add_module(child, file, &below, &tokens[at + 3..end - 1], read);
                    at = end;
                } else {
                    let file = file_of(tokens, at, file, below, read);
                    self.add_file(child, &file, read);
                    at += 3;
                }
                continue;
            }
            match (&*token.text, next) {
                // `use<'a>` names lifetimes.
                ("use", _) if token.kind == Kind::Ident && !tokens[at + 1].is("<") => {
                    at = module.add_use(tokens, at + 1, &[]) + 1;
                    continue;
                }
                (
                    "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union",
                    Some(name),
                ) if depth == 0 => {
                    module.definitions.insert(name.text.clone());
                }
                _ => {}
            }
            at = module.add_path(tokens, at);
        }
        let mut path = path;
        // A stand-in for a module of another build is imported by nobody else.
        while self.modules.contains_key(&path) {
            path.push("(other build)".to_owned());
        }
        self.modules.insert(path, module);
    }

    /// All imports between two files.
    pub fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (at, module) in &self.modules {
            let named = module.uses.values().chain(&module.paths);
            for path in named.chain(&module.globs) {
                let mut files = BTreeSet::new();
                let within = self.resolve(path, at, at, &mut files, 0);
                let is_glob = module.globs.contains(path);
                let globbed = within
                    .filter(|_| is_glob)
                    .and_then(|path| self.modules.get(&path));
                files.extend(globbed.map(|module| module.file.clone()));
                for file in files.into_iter().filter(|file| *file != module.file) {
                    let name = path.last().expect("a path has segments").clone();
                    let arrow = (module.file.clone(), file);
                    imports.entry(arrow).or_default().insert(name);
                }
            }
        }
        imports
    }

    /// The module where a path begins, and the segments after it; none if it names another crate.
    fn absolute<'a>(&self, path: &'a [String], at: &[String]) -> Option<(Path, &'a [String])> {
        let mut begin = at.to_vec();
        match path[0].as_str() {
            "crate" => return Some((begin[..1].to_vec(), &path[1..])),
            "self" => return Some((begin, &path[1..])),
            "super" => {
                let ups = path
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                begin.truncate(begin.len().saturating_sub(ups).max(1));
                return Some((begin, &path[ups..]));
            }
            _ => {}
        }
        let child = [at, &path[..1]].concat();
        let is_known = self.modules.contains_key(&child)
            || self.modules.get(at).is_some_and(|module| {
                // `use a;` names another crate, unless `a` is a module.
                let used = module.uses.get(&path[0]);
                let is_used = used.is_some_and(|used| used != &path[..1]);
                is_used || module.definitions.contains(&path[0])
            });
        is_known.then_some((begin, path))
    }

    /// Follows a path that is written in the module `at` to the files that it takes something from.
    /// `reader` is the module that needs it. Returns the module that the whole path names, if it
    /// does: what is taken from that shows where it is used.
    fn resolve(
        &self,
        path: &[String],
        at: &[String],
        reader: &[String],
        files: &mut BTreeSet<String>,
        depth: usize,
    ) -> Option<Path> {
        let (mut module, mut rest) = self.absolute(path, at).filter(|_| depth < 16)?;
        while let [name, after @ ..] = rest {
            let child = [&module[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                (module, rest) = (child, after);
                continue;
            }
            let inner = self.modules.get(&module)?;
            let is_defined = inner.definitions.contains(name);
            let used = inner.uses.get(name).filter(|_| !is_defined);
            let globs = inner.globs.iter().filter(|_| !is_defined && used.is_none());
            let onwards = used.map(|target| [&target[..], after].concat());
            let through_globs = globs.map(|glob| [&glob[..], rest].concat());
            for onwards in onwards.into_iter().chain(through_globs) {
                self.resolve(&onwards, &module, reader, files, depth + 1);
            }
            // Through its own face; and a name that nothing shows, such as a macro's.
            if used.is_none() || reader.starts_with(&module) {
                files.insert(inner.file.clone());
            }
            return None;
        }
        Some(module)
    }
}

/// The file of the module that is declared at `at`: `mod name;`, perhaps with a `#[path]`.
fn file_of(tokens: &[Token], at: usize, file: &str, below: &str, read: Read) -> String {
    let before = tokens[..at].iter().rev();
    let mut attributes = before.take_while(|token| !matches!(&*token.text, ";" | "}" | "{"));
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let given = attributes
        .find(|token| token.kind == Kind::Str && token.text.strip_suffix(".rs").is_some());
    if let Some(given) = given {
        return format!("{folder}/{}", given.text);
    }
    let name = &tokens[at + 1].text;
    let beside = format!("{below}/{name}.rs");
    if read(&beside).is_some() {
        return beside;
    }
    format!("{below}/{name}/mod.rs")
}

impl Module {
    /// Adds the tree of a `use` item from `at` on, below `prefix`. Returns the place of the token
    /// that ends it.
    fn add_use(&mut self, tokens: &[Token], mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        let mut alias = None;
        while at < tokens.len() {
            let token = &tokens[at];
            match token.text.as_str() {
                "::" => {}
                "*" => {
                    self.globs.push(path.clone());
                    path.clear();
                }
                "as" => {
                    at += 1;
                    alias = Some(tokens[at].text.clone());
                }
                "{" => {
                    let end = close(tokens, at);
                    at += 1;
                    while at < end {
                        at = self.add_use(tokens, at, &path) + 1;
                    }
                    path.clear();
                    at = end;
                    continue;
                }
                "," | "}" | ";" => break,
                name => path.push(name.to_owned()),
            }
            at += 1;
        }
        if path.len() > prefix.len() {
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            // `as _` names nothing, and is an import all the same.
            let unnamed = format!("_ {}", self.uses.len());
            let last = path.last().expect("a prefix or a name").clone();
            let name = alias.unwrap_or(last);
            let name = if name == "_" { unnamed } else { name };
            self.uses.insert(name, path);
        }
        at
    }

    /// Adds the path that begins at `at`, if one does. Returns the place after it.
    fn add_path(&mut self, tokens: &[Token], at: usize) -> usize {
        let is_name = |at: usize| {
            tokens
                .get(at)
                .is_some_and(|token| token.kind == Kind::Ident)
        };
        let is_joined = |at: usize| tokens.get(at).is_some_and(|token| token.is("::"));
        let token = &tokens[at];
        // serde names functions in strings.
        if token.kind == Kind::Str {
            let segments: Path = token.text.split("::").map(str::to_owned).collect();
            let is_segment = |segment: &String| {
                !segment.is_empty() && segment.chars().all(|c| c.is_alphanumeric() || c == '_')
            };
            if segments.len() > 1 && segments.iter().all(is_segment) {
                self.paths.insert(segments);
            }
            return at + 1;
        }
        let is_continued = at > 0 && (tokens[at - 1].is("::") || tokens[at - 1].is("."));
        // `pub(in crate::a)` says who may see.
        let is_visibility = at > 0 && tokens[at - 1].is("in") && tokens[at - 2].is("(");
        if !is_name(at) || !is_joined(at + 1) || is_continued || is_visibility {
            return at + 1;
        }
        let mut path = vec![token.text.clone()];
        let mut end = at + 1;
        while is_joined(end) && is_name(end + 1) {
            path.push(tokens[end + 1].text.clone());
            end += 2;
        }
        if path.len() > 1 {
            self.paths.insert(path);
        }
        end
    }
}

/// Circles: groups of files each of which reaches all others of its group by imports.
pub fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reach = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(file) = next.pop() {
            let arrows = imports.keys().filter(|(importer, _)| *importer == file);
            for (_, imported) in arrows {
                if seen.insert(imported.clone()) {
                    next.push(imported.clone());
                }
            }
        }
        seen
    };
    let files: BTreeSet<&String> = imports.keys().map(|(importer, _)| importer).collect();
    let reached: BTreeMap<_, _> = files.into_iter().map(|file| (file, reach(file))).collect();
    let mut circles = Vec::new();
    for (file, reachable) in &reached {
        let returns = |other: &&String| reached.get(*other).is_some_and(|all| all.contains(*file));
        let circle: BTreeSet<String> = reachable.iter().filter(returns).cloned().collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}
