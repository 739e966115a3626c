//! banyan.toml as tests vary it.

/// banyan.toml as a test wants it.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub command: String,
    pub release: Option<String>,
    pub count: u32,
    /// Lines before all tables; tables by dotted keys.
    pub top: Vec<String>,
    /// More lines of `[app]`.
    pub app: Vec<String>,
    /// Lines of `[app.env]`.
    pub env: Vec<(String, String)>,
    /// More lines of `[process.web]`.
    pub process: Vec<String>,
    /// Lines of `[edge]` besides the port; tables of it by dotted keys.
    pub edge: Vec<String>,
    /// Lines behind all others: whole tables.
    pub more: Vec<String>,
    pub database: bool,
    /// Lines of `[database]` besides port and memory; tables of it by dotted keys.
    pub database_keys: Vec<String>,
    /// Path that the readiness probe asks; `None`: TCP.
    pub ready: Option<String>,
}

impl Manifest {
    /// The sample app with a managed PostgreSQL.
    pub fn photos(count: u32) -> Self {
        Self {
            command: "./photos serve".to_owned(),
            release: Some("./photos migrate".to_owned()),
            count,
            top: Vec::new(),
            app: Vec::new(),
            env: Vec::new(),
            process: Vec::new(),
            edge: Vec::new(),
            more: Vec::new(),
            database: true,
            database_keys: Vec::new(),
            ready: Some("/readyz".to_owned()),
        }
    }

    /// The small app `misfit`: quick to start, and as broken as its arguments say. No database.
    pub fn misfit(args: &str) -> Self {
        Self {
            command: format!("./misfit {args}"),
            release: None,
            count: 1,
            top: Vec::new(),
            app: Vec::new(),
            env: Vec::new(),
            process: Vec::new(),
            edge: Vec::new(),
            more: Vec::new(),
            database: false,
            database_keys: Vec::new(),
            ready: None,
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn process(mut self, line: &str) -> Self {
        self.process.push(line.to_owned());
        self
    }

    pub fn edge(mut self, line: &str) -> Self {
        self.edge.push(line.to_owned());
        self
    }

    /// The file's text, with the ports that this installation was given.
    pub(crate) fn text(&self, edge: u16, database: u16) -> String {
        let mut lines = vec!["version = 1".to_owned(), "name = \"photos\"".to_owned()];
        lines.extend(self.top.iter().cloned());
        lines.extend(["[app]".to_owned(), "dir = \"app\"".to_owned()]);
        lines.extend(
            self.release
                .iter()
                .map(|command| format!("release = {}", quoted(command))),
        );
        lines.extend(self.app.iter().cloned());
        lines.push("[app.env]".to_owned());
        lines.extend(
            self.env
                .iter()
                .map(|(name, value)| format!("{name} = {}", quoted(value))),
        );
        lines.push("[process.web]".to_owned());
        lines.push(format!("command = {}", quoted(&self.command)));
        lines.push(format!("count = {}", self.count));
        lines.extend(
            self.ready
                .iter()
                .map(|path| format!("ready = {{ path = {}, interval = \"250ms\" }}", quoted(path))),
        );
        lines.extend(self.process.iter().cloned());
        lines.extend(["[edge]".to_owned(), format!("port = {edge}")]);
        lines.extend(self.edge.iter().cloned());
        if self.database {
            lines.push("[database]".to_owned());
            lines.push(format!("port = {database}"));
            lines.push("memory = \"128MiB\"".to_owned());
            lines.extend(self.database_keys.iter().cloned());
        }
        lines.extend(self.more.iter().cloned());
        lines.join("\n") + "\n"
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
