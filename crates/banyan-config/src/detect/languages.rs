//! A function per ecosystem. The first one that recognises the folder wins.

use serde_json::Value;

use super::{Folder, Proposal};

pub(super) fn recognise(folder: &Folder<'_>, proposal: &mut Proposal) {
    let recognisers: [fn(&Folder<'_>, &mut Proposal) -> Option<()>; 6] =
        [django, rails_or_rack, python, node, cargo, go];
    let _found = recognisers
        .iter()
        .find_map(|recognise| recognise(folder, proposal));
}

/// The first dependency in `text` that talks to PostgreSQL.
fn database(text: &str, drivers: &[&str]) -> Option<String> {
    let words: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_./@".contains(c)))
        .collect();
    drivers
        .iter()
        .find(|driver| words.iter().any(|word| word.eq_ignore_ascii_case(driver)))
        .map(|&d| d.to_owned())
}

fn mentions(text: &str, word: &str) -> bool {
    database(text, &[word]).is_some()
}

const PYTHON_DRIVERS: [&str; 8] = [
    "psycopg",
    "psycopg2",
    "psycopg2-binary",
    "asyncpg",
    "pg8000",
    "sqlalchemy",
    "tortoise-orm",
    "peewee",
];

/// requirements.txt, pyproject.toml and Pipfile together.
fn python_dependencies(folder: &Folder<'_>) -> Option<String> {
    let files = ["requirements.txt", "pyproject.toml", "Pipfile", "setup.cfg"];
    let texts: Vec<String> = files.iter().filter_map(|name| folder.read(name)).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Programs of a virtual environment are not on PATH.
fn python_program(folder: &Folder<'_>, program: &str) -> String {
    match [".venv", "venv", "env"].iter().find(|name| folder.has(name)) {
        Some(folder) => format!("./{folder}/bin/{program}"),
        None => program.to_owned(),
    }
}

fn django(folder: &Folder<'_>, proposal: &mut Proposal) -> Option<()> {
    let manage = folder.read("manage.py")?;
    let settings = manage.split("DJANGO_SETTINGS_MODULE").nth(1).and_then(|rest| {
        let quoted = rest
            .split(['"', '\''])
            .map(str::trim)
            .find(|text| text.contains(".settings"))?;
        Some(quoted.to_owned())
    });
    let module = settings
        .as_ref()
        .and_then(|settings| settings.split('.').next())
        .unwrap_or("myproject")
        .to_owned();
    proposal.kind = Some("Django".to_owned());
    proposal.web(format!(
        "{} {module}.wsgi --bind {{{{host}}}}:{{{{port}}}}",
        python_program(folder, "gunicorn")
    ));
    proposal.release = Some(format!(
        "{} manage.py migrate --noinput",
        python_program(folder, "python3")
    ));
    if settings.is_none() {
        proposal.guess(
            "The name of the Django project could not be read from manage.py: correct `myproject.wsgi`.",
        );
    }
    let dependencies = python_dependencies(folder).unwrap_or_default();
    if !mentions(&dependencies, "gunicorn") {
        proposal.guess("gunicorn is not among the dependencies: install it, or write another server.");
    }
    proposal.database = Some(database(&dependencies, &PYTHON_DRIVERS).unwrap_or_else(|| "Django".to_owned()));
    proposal.check("settings.py must read DATABASE_URL (for example with dj-database-url) and allow the host in ALLOWED_HOSTS.");
    Some(())
}

fn python(folder: &Folder<'_>, proposal: &mut Proposal) -> Option<()> {
    let dependencies = python_dependencies(folder)?;
    let candidates = ["main", "app", "wsgi", "asgi", "server"];
    let file = candidates.iter().find(|name| folder.has(&format!("{name}.py")));
    let module = (*file.unwrap_or(&"main")).to_owned();
    let text = folder.read(&format!("{module}.py")).unwrap_or_default();
    let object = |class: &str| {
        let made = text
            .lines()
            .find_map(|line| line.split_once('=').filter(|(_, right)| right.contains(class)));
        made.map(|(left, _)| left.split(':').next().unwrap_or("app").trim().to_owned())
            .unwrap_or_else(|| "app".to_owned())
    };
    if mentions(&dependencies, "fastapi") || mentions(&dependencies, "starlette") {
        proposal.kind = Some("FastAPI".to_owned());
        let object = object("FastAPI(");
        let uvicorn = python_program(folder, "uvicorn");
        proposal.web(format!(
            "{uvicorn} {module}:{object} --host {{{{host}}}} --port {{{{port}}}}"
        ));
    } else if mentions(&dependencies, "flask") {
        proposal.kind = Some("Flask".to_owned());
        let object = object("Flask(");
        let gunicorn = python_program(folder, "gunicorn");
        proposal.web(format!(
            "{gunicorn} {module}:{object} --bind {{{{host}}}}:{{{{port}}}}"
        ));
        if !mentions(&dependencies, "gunicorn") {
            proposal.guess("gunicorn is not among the dependencies: install it, or write another server.");
        }
    } else {
        proposal.kind = Some("Python".to_owned());
        proposal.web(format!("{} {module}.py", python_program(folder, "python3")));
        proposal.check("The app must listen on the port in the environment variable PORT.");
    }
    proposal.guess(format!("`{module}` as the module that holds the app is a guess."));
    if folder.has("alembic.ini") {
        proposal.release = Some(format!("{} upgrade head", python_program(folder, "alembic")));
    }
    proposal.database = database(&dependencies, &PYTHON_DRIVERS);
    Some(())
}

fn node(folder: &Folder<'_>, proposal: &mut Proposal) -> Option<()> {
    let package: Value = serde_json::from_str(&folder.read("package.json")?).unwrap_or_default();
    let script = |name: &str| package["scripts"][name].as_str();
    let depends = |name: &str| !package["dependencies"][name].is_null();
    let framework = [
        ("next", "Next.js"),
        ("nuxt", "Nuxt"),
        ("@nestjs/core", "NestJS"),
        ("fastify", "Fastify"),
        ("express", "Express"),
    ];
    let framework = framework.iter().find(|(dependency, _)| depends(dependency));
    proposal.kind = Some(framework.map_or("Node.js", |(_, name)| name).to_owned());
    match script("start").map(str::trim) {
        _ if depends("next") => {
            proposal.web("./node_modules/.bin/next start --hostname {{host}} --port {{port}}")
        }
        // npm as the parent swallows signals: start the program itself where that is what the script does.
        Some(start) if start.starts_with("node ") && crate::command::split(start).is_ok() => {
            proposal.web(start)
        }
        Some(_) => {
            proposal.web("npm start");
            proposal.guess("npm does not always pass SIGTERM on: better write what the start script runs.");
        }
        None => {
            let main = package["main"].as_str().map(str::to_owned);
            let file = ["server.js", "index.js", "app.js"]
                .iter()
                .find(|name| folder.has(name));
            let main = main
                .or(file.map(|name| (*name).to_owned()))
                .unwrap_or_else(|| "server.js".to_owned());
            proposal.web(format!("node {}", crate::command::join([main.as_str()])));
            proposal.guess("package.json has no start script: the command is a guess.");
        }
    }
    proposal.env("NODE_ENV", "production");
    if script("build").is_some() {
        proposal.check("Banyan does not build: run `npm run build` before `banyan up` and `banyan deploy`.");
    }
    proposal.check("The app must listen on process.env.PORT.");
    let drivers = [
        "pg",
        "postgres",
        "pg-promise",
        "@prisma/client",
        "sequelize",
        "typeorm",
        "knex",
        "drizzle-orm",
        "slonik",
    ];
    proposal.database = drivers
        .iter()
        .find(|name| depends(name))
        .map(|name| (*name).to_owned());
    if depends("@prisma/client") {
        proposal.release = Some("./node_modules/.bin/prisma migrate deploy".to_owned());
    } else if let Some(name) = ["migrate", "db:migrate"]
        .iter()
        .find(|name| script(name).is_some())
    {
        proposal.release = Some(format!("npm run {name}"));
    }
    Some(())
}

fn cargo(folder: &Folder<'_>, proposal: &mut Proposal) -> Option<()> {
    let text = folder.read("Cargo.toml")?;
    let report = crate::report::Report::default();
    let file = report.add_file(std::path::Path::new("Cargo.toml"), &text, false);
    let manifest = crate::tree::parse(&text, file, &report);
    let name = |table: &str| {
        use crate::tree::Value::{List, Table, Text};
        let entries = match &manifest.iter().find(|entry| entry.name == table)?.node.value {
            Table(entries) => entries,
            List(items) => match &items.first()?.value {
                Table(entries) => entries,
                _ => return None,
            },
            _ => return None,
        };
        match &entries.iter().find(|entry| entry.name == "name")?.node.value {
            Text(name) => Some(name.clone()),
            _ => None,
        }
    };
    proposal.kind = Some("Rust".to_owned());
    let program = name("bin").or_else(|| name("package"));
    if program.is_none() {
        proposal.guess("Cargo.toml is a workspace: replace `server` by the name of the program.");
    }
    let program = program.unwrap_or_else(|| "server".to_owned());
    proposal.web(crate::command::join([
        format!("./target/release/{program}").as_str()
    ]));
    proposal
        .check("Banyan does not build: run `cargo build --release` before `banyan up` and `banyan deploy`.");
    proposal.check("The app must listen on the port in the environment variable PORT.");
    proposal.database = database(
        &text,
        &[
            "sqlx",
            "tokio-postgres",
            "postgres",
            "diesel",
            "sea-orm",
            "deadpool-postgres",
        ],
    );
    Some(())
}

fn rails_or_rack(folder: &Folder<'_>, proposal: &mut Proposal) -> Option<()> {
    let gems = folder.read("Gemfile")?;
    proposal.database = database(&gems, &["pg", "activerecord", "sequel"]);
    if mentions(&gems, "rails") {
        proposal.kind = Some("Rails".to_owned());
        proposal.web("bundle exec puma --bind tcp://{{host}}:{{port}}");
        proposal.release = Some("bundle exec rails db:migrate".to_owned());
        proposal.env("RAILS_ENV", "production");
        proposal.env("RAILS_LOG_TO_STDOUT", "1");
        proposal.check("Rails needs SECRET_KEY_BASE: put it in a secrets file and refer to it in [app.env].");
        proposal.check("Run `bundle exec rails assets:precompile` before `banyan up` and `banyan deploy`.");
        return Some(());
    }
    proposal.kind = Some("Ruby".to_owned());
    if mentions(&gems, "puma") {
        proposal.web("bundle exec puma --bind tcp://{{host}}:{{port}}");
    } else {
        proposal.web("bundle exec rackup --host {{host}} --port {{port}}");
    }
    if !folder.has("config.ru") {
        proposal.guess("There is no config.ru: the command is a guess.");
    }
    Some(())
}

fn go(folder: &Folder<'_>, proposal: &mut Proposal) -> Option<()> {
    let text = folder.read("go.mod")?;
    let module = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))
        .unwrap_or_default();
    let parts: Vec<&str> = module.trim().split('/').collect();
    let version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let program = parts
        .iter()
        .rev()
        .find(|part| !version(part) && !part.is_empty())
        .copied()
        .unwrap_or("server");
    proposal.kind = Some("Go".to_owned());
    proposal.web(crate::command::join([format!("./{program}").as_str()]));
    proposal.check(format!(
        "Banyan does not build: run `go build -o {program} .` before `banyan up` and `banyan deploy`."
    ));
    proposal.check("The app must listen on the port in the environment variable PORT.");
    let drivers = [
        "github.com/lib/pq",
        "github.com/jackc/pgx",
        "gorm.io/driver/postgres",
        "github.com/uptrace/bun",
    ];
    let driver = drivers.iter().find(|driver| text.contains(*driver));
    proposal.database = driver.map(|driver| (*driver).to_owned());
    Some(())
}
