//! JAAS files: sections of login modules with options. Of a section the options of ZooKeeper's `DigestLoginModule` count.
//!
//! Source: the JDK's `sun.security.provider.ConfigFile`. Of what stands where a password may no error tells.

use std::{collections::BTreeMap, path::PathBuf};

use crate::User;

/// The module whose users are known.
const MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";
/// What stands in front of a user's name.
const USER: &str = "user_";

/// The file that a value of `java.security.auth.login.config` names: a path or a `file:` URL, perhaps behind an equals
/// sign, by which Java means that no other file counts.
pub fn file(value: &str) -> PathBuf {
    let value = value.strip_prefix('=').unwrap_or(value);
    let Some(url) = value.strip_prefix("file:") else { return PathBuf::from(value) };
    let path = url.strip_prefix("//").map_or(url, |rest| rest.find('/').map_or("", |root| &rest[root..]));
    PathBuf::from(path)
}

/// The users of a server's section, with their passwords; none if the file has no such section.
///
/// # Errors
/// What is wrong, and in which line.
pub fn users(text: &str, section: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let options = options(text, section)?;
    Ok(options.map(|options| {
        let user = |(key, value): (String, String)| Some((key.strip_prefix(USER)?.to_owned(), value));
        options.into_iter().filter_map(user).collect()
    }))
}

/// Who a client's section says that it is; none if the file has no such section.
///
/// # Errors
/// What is wrong, and in which line; or that it names nobody.
pub fn login(text: &str, section: &str) -> Result<Option<User>, String> {
    let Some(mut options) = options(text, section)? else { return Ok(None) };
    let mut option = |key| options.remove(key).ok_or_else(|| format!("the section {section} has no {key}"));
    Ok(Some(User { name: option("username")?, password: option("password")? }))
}

/// The options of a section; none if the file has no such section, or nothing stands in it.
fn options(text: &str, section: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let mut tokens = Tokens { rest: text, line: 1 };
    let mut found = None;
    while let Some(name) = tokens.next()? {
        let options = of_section(&mut tokens, &name, name == section)?;
        if name == section && found.is_some() {
            return Err(tokens.wrong(&format!("the section {name} stands there twice")));
        }
        found = found.or(options.filter(|_| name == section));
    }
    Ok(found)
}

/// A section behind its name: `{ Module flag key=value …; … };`.
fn of_section(
    tokens: &mut Tokens<'_>,
    name: &str,
    counts: bool,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let (mut options, mut modules) = (BTreeMap::new(), 0);
    tokens.expect("{", &format!("behind the name {name}"))?;
    loop {
        let module = tokens.some("a login module, or }")?;
        if module == "}" {
            tokens.expect(";", &format!("behind the section {name}"))?;
            return Ok(Some(options).filter(|_| modules > 0));
        }
        modules += 1;
        if counts && module != MODULE {
            return Err(tokens.wrong(&format!(
                "the section {name} has the module {module}, and {MODULE} is the one there is here"
            )));
        }
        let flag = tokens.some("required, requisite, sufficient or optional")?;
        let flags = ["required", "requisite", "sufficient", "optional"];
        if !flags.contains(&flag.to_ascii_lowercase().as_str()) {
            return Err(tokens.wrong(&format!("{flag:?} stands where one of {} should", flags.join(", "))));
        }
        loop {
            let key = tokens.some("an option, or ;")?;
            if key == ";" {
                break;
            }
            if tokens.some("=")? != "=" {
                return Err(tokens.wrong("= should stand behind the name of an option"));
            }
            let value = tokens.some("a value")?;
            if value.contains("${") {
                return Err(tokens.wrong("${…} stands for nothing here; write what it is to stand for"));
            }
            options.insert(key, value);
        }
    }
}

/// Words, texts in quotes, and single marks; comments are left out.
struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<String>, String> {
        self.skip()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if first == '"' {
            return self.quoted().map(Some);
        }
        let is_mark = |char: char| "{};=".contains(char);
        let end = if is_mark(first) {
            1
        } else {
            let ends = |char: char| char.is_whitespace() || is_mark(char) || char == '"';
            self.rest.find(ends).unwrap_or(self.rest.len())
        };
        Ok(Some(self.take(end).to_owned()))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((place, char)) = chars.next() {
            match char {
                '"' => {
                    self.take(place + 1);
                    return Ok(value);
                }
                '\\' => value.extend(escaped(&mut chars)),
                '\n' => break,
                char => value.push(char),
            }
        }
        Err(self.wrong("quotes are not closed"))
    }

    fn some(&mut self, what: &str) -> Result<String, String> {
        match self.next()? {
            Some(token) => Ok(token),
            None => Err(self.wrong(&format!("the file ends where {what} should stand"))),
        }
    }

    fn expect(&mut self, mark: &str, place: &str) -> Result<(), String> {
        let found = self.some(mark)?;
        if found == mark {
            Ok(())
        } else {
            Err(self.wrong(&format!("{mark} should stand {place}, not {found:?}")))
        }
    }

    /// White space and comments.
    fn skip(&mut self) -> Result<(), String> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if self.rest.starts_with("//") || self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else {
                    return Err(self.wrong("a comment is not closed"));
                };
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: usize) -> &str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn wrong(&self, what: &str) -> String {
        format!("line {}: {what}", self.line)
    }
}

/// What stands behind a backslash, as Java's tokens have it: up to three digits of an octal number, or a letter.
fn escaped(chars: &mut (impl Iterator<Item = (usize, char)> + Clone)) -> Option<char> {
    let (_, first) = chars.next()?;
    let Some(mut code) = first.to_digit(8) else {
        return Some(match first {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            char => char,
        });
    };
    // No more than a byte.
    for _ in 0..if code <= 3 { 2 } else { 1 } {
        let Some(digit) = chars.clone().next().and_then(|(_, char)| char.to_digit(8)) else { break };
        chars.next();
        code = 8 * code + digit;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_path_or_a_url() {
        let rows = [
            ("/etc/jaas.conf", "/etc/jaas.conf"),
            ("=/etc/jaas.conf", "/etc/jaas.conf"),
            ("file:/etc/jaas.conf", "/etc/jaas.conf"),
            ("=file:///etc/jaas.conf", "/etc/jaas.conf"),
            ("file:jaas.conf", "jaas.conf"),
        ];
        for (value, expected) in rows {
            assert_eq!(file(value), PathBuf::from(expected), "{value}");
        }
    }

    #[test]
    fn quotes_hold_what_java_reads_in_them() {
        let module = "S { org.apache.zookeeper.server.auth.DigestLoginModule required user_a=";
        let rows = [
            (r#""a\tb\101\"\\\60\0601\477""#, "a\tbA\"\\00\u{31}'7"),
            (r#""plain""#, "plain"),
            ("'single'", "'single'"),
        ];
        for (value, expected) in rows {
            let found = users(&format!("{module}{value}; }};"), "S").expect(value).expect("it is there");
            assert_eq!(found["a"], expected, "{value}");
        }
        assert!(
            users(&format!("{module}\"${{x}}\"; }};"), "S")
                .expect_err("of Java")
                .contains("stands for nothing")
        );
    }

    #[test]
    fn no_error_tells_a_password() {
        let module =
            "Client { org.apache.zookeeper.server.auth.DigestLoginModule required username=bob password";
        for secret in [" secret; };", "=my secret; };", "=a=secret; };", "=\"secret; };", " \"secret\"; };"] {
            let told = login(&format!("{module}{secret}"), "Client").expect_err(secret);
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_section_stands_there_once_with_something_in_it() {
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required;";
        let twice = format!("S {{ {module} }}; S {{ {module} }};");
        assert!(users(&twice, "S").expect_err("twice").contains("twice"));
        assert_eq!(users("S { };", "S"), Ok(None));
        assert_eq!(users(&format!("S {{ {module} }};"), "S"), Ok(Some(BTreeMap::new())));
    }

    #[test]
    fn the_users_of_a_section_are_found() {
        let text = "/* users\n */ Server { // ours\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n\
                    user_super=\"adm\\\"in\" user_bob=\"bob secret\"\n user_a.b='x';\n};\n\
                    # another\nClient {\n com.sun.Krb5LoginModule required useKeyTab=true; };";
        let found = users(text, "Server").expect("it is well formed").expect("it has the section");
        let pairs: Vec<_> = found.iter().map(|(user, password)| (user.as_str(), password.as_str())).collect();
        assert_eq!(pairs, [("a.b", "'x'"), ("bob", "bob secret"), ("super", "adm\"in")]);
        assert_eq!(users(text, "QuorumServer"), Ok(None));
        assert_eq!(users("", "Server"), Ok(None));
    }

    #[test]
    fn a_client_is_one_user() {
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
        let text = format!(
            "Client {{ {module} username=\"bob\" password=\"a b\"; }}; Half {{ {module} username=x; }};"
        );
        let found = login(&text, "Client").expect("it is well formed").expect("it has the section");
        assert_eq!((found.name.as_str(), found.password.as_str()), ("bob", "a b"));
        assert_eq!(login(&text, "Half").expect_err("half"), "the section Half has no password");
        assert_eq!(login(&text, "Server"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let module = "Server {\n org.apache.zookeeper.server.auth.DigestLoginModule";
        let wrong = [
            (
                "Server {\n com.sun.Krb5LoginModule required; };".to_owned(),
                "line 2: the section Server has the module",
            ),
            ("Server\n\n(".to_owned(), "line 3: { should stand behind the name Server"),
            (format!("{module} maybe;}};"), "line 2: \"maybe\" stands where one of required"),
            (format!("{module} required\nuser_a;"), "line 3: = should stand behind the name of an option"),
            (format!("{module} required\nuser_a=\"x\n\";"), "line 3: quotes are not closed"),
            (format!("{module} required;"), "line 2: the file ends where a login module"),
            (format!("{module} required;}}"), "the file ends where ; should stand"),
            ("/* x".to_owned(), "a comment is not closed"),
        ];
        for (text, why) in wrong {
            let error = users(&text, "Server").expect_err(&text);
            assert!(error.contains(why), "{error}");
        }
    }
}
