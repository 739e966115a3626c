//! What `banyan init` writes for a folder; every proposal must load.

use std::path::Path;

use banyan_config::detect::{Folder, detect};
use expect_test::{Expect, expect};

/// Files in one text, each after a line `--- path`; folders end in `/`.
fn check(folder: &str, expected: Expect) {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in folder.lines() {
        match line.strip_prefix("--- ") {
            Some(name) => files.push((name.trim_end_matches('/').to_owned(), String::new())),
            None => {
                let (_, text) = files.last_mut().expect("the text begins with a header");
                *text = format!("{text}{line}\n");
            }
        }
    }
    let entries: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let read = |path: &Path| {
        files
            .iter()
            .find(|(name, _)| Path::new(name) == path)
            .map(|(_, text)| text.clone())
    };
    let toml = detect(&Folder {
        name: "My Shop",
        entries: &entries,
        read: &read,
    })
    .to_toml();
    let procfile = read(Path::new("Procfile"))
        .map(|text| format!("--- Procfile\n{text}"))
        .unwrap_or_default();
    if let Err(errors) = crate::load(&format!("{toml}{procfile}")) {
        panic!("{toml}\n{errors}");
    }
    expected.assert_eq(&toml);
}

#[test]
fn nothing_known() {
    check(
        "--- README.md",
        expect![[r##"
        # Written by `banyan init`.
        # Every key and its default: `banyan config --manual`.
        #
        # Please check:
        # - Nothing in the folder tells how the app is started: replace the command of [process.web].
        version = 1
        name = "my-shop"

        [app]
        # release = "…"  # once per deploy, for example migrations
        # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

        [process.web]
        command = "./replace-with-your-server"
        # A path that answers 200 when the instance can work: without it, deploys may lose requests.
        # ready = "/healthz"

        [edge]
        port = 8080
        public = false  # true: reachable from other machines

        # [database]  # remove the first # and Banyan runs PostgreSQL: DATABASE_URL
    "##]],
    );
}

#[test]
fn a_procfile_speaks_for_itself() {
    check(
        "--- Procfile\nweb: ./web $PORT\nclock: ./clock\nrelease: ./migrate\n--- package.json\n{\"dependencies\": {\"pg\": \"8\"}}",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Node.js.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - The app must listen on process.env.PORT.
            version = 1
            name = "my-shop"

            [app]
            # release = "…"  # once per deploy, for example migrations
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [app.env]
            NODE_ENV = "production"

            # The Procfile's processes run as they are: web, clock.

            [process.web]
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses pg; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn a_procfile_without_web() {
    check(
        "--- Procfile\nworker: ./w\n",
        expect![[r##"
        # Written by `banyan init`.
        # Every key and its default: `banyan config --manual`.
        version = 1
        name = "my-shop"

        [app]
        # release = "…"  # once per deploy, for example migrations
        # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

        # The Procfile's processes run as they are: worker.

        # No process is called `web`, so there is no HTTP front. [edge] process = "…" names another.

        # [database]  # remove the first # and Banyan runs PostgreSQL: DATABASE_URL
    "##]],
    );
}

#[test]
fn express_with_a_node_start_script() {
    check(
        "--- package.json\n{\"scripts\": {\"start\": \"node server.js\", \"build\": \"tsc\", \"migrate\": \"x\"}, \"dependencies\": {\"express\": \"5\", \"knex\": \"3\"}}",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Express.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - Banyan does not build: run `npm run build` before `banyan up` and `banyan deploy`.
            # - The app must listen on process.env.PORT.
            version = 1
            name = "my-shop"

            [app]
            # Once per deploy, before the new version gets traffic; its failure keeps the old one.
            release = "npm run migrate"
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [app.env]
            NODE_ENV = "production"

            [process.web]
            command = "node server.js"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses knex; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn next_with_prisma() {
    check(
        "--- package.json\n{\"scripts\": {\"start\": \"next start\", \"build\": \"next build\"}, \"dependencies\": {\"next\": \"15\", \"@prisma/client\": \"6\"}}",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Next.js.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - Banyan does not build: run `npm run build` before `banyan up` and `banyan deploy`.
            # - The app must listen on process.env.PORT.
            version = 1
            name = "my-shop"

            [app]
            # Once per deploy, before the new version gets traffic; its failure keeps the old one.
            release = "./node_modules/.bin/prisma migrate deploy"
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [app.env]
            NODE_ENV = "production"

            [process.web]
            command = "./node_modules/.bin/next start --hostname {{host}} --port {{port}}"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses @prisma/client; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn a_package_json_that_is_no_json() {
    check(
        "--- package.json\n{oops\n--- index.js\n",
        expect![[r##"
        # Written by `banyan init`, which took this folder for Node.js.
        # Every key and its default: `banyan config --manual`.
        #
        # Please check:
        # - package.json has no start script: the command is a guess.
        # - The app must listen on process.env.PORT.
        version = 1
        name = "my-shop"

        [app]
        # release = "…"  # once per deploy, for example migrations
        # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

        [app.env]
        NODE_ENV = "production"

        [process.web]
        command = "node index.js"
        # A path that answers 200 when the instance can work: without it, deploys may lose requests.
        # ready = "/healthz"

        [edge]
        port = 8080
        public = false  # true: reachable from other machines

        # [database]  # remove the first # and Banyan runs PostgreSQL: DATABASE_URL
    "##]],
    );
}

#[test]
fn django_in_a_virtual_environment() {
    check(
        "--- manage.py\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"bookshop.settings\")\n--- requirements.txt\nDjango==5.2\npsycopg[binary]>=3\n--- .venv/",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Django.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - gunicorn is not among the dependencies: install it, or write another server.
            # - settings.py must read DATABASE_URL (for example with dj-database-url) and allow the host in ALLOWED_HOSTS.
            version = 1
            name = "my-shop"

            [app]
            # Once per deploy, before the new version gets traffic; its failure keeps the old one.
            release = "./.venv/bin/python3 manage.py migrate --noinput"
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [process.web]
            command = "./.venv/bin/gunicorn bookshop.wsgi --bind {{host}}:{{port}}"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses psycopg; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn fastapi_with_alembic() {
    check(
        "--- requirements.txt\nfastapi==0.115\nasyncpg\n--- main.py\nfrom fastapi import FastAPI\napi = FastAPI()\n--- alembic.ini\n",
        expect![[r##"
            # Written by `banyan init`, which took this folder for FastAPI.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - `main` as the module that holds the app is a guess.
            version = 1
            name = "my-shop"

            [app]
            # Once per deploy, before the new version gets traffic; its failure keeps the old one.
            release = "alembic upgrade head"
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [process.web]
            command = "uvicorn main:api --host {{host}} --port {{port}}"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses asyncpg; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn flask() {
    check(
        "--- pyproject.toml\ndependencies = [\"flask>=3\", \"gunicorn\"]\n--- app.py\napp = Flask(__name__)\n",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Flask.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - `app` as the module that holds the app is a guess.
            version = 1
            name = "my-shop"

            [app]
            # release = "…"  # once per deploy, for example migrations
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [process.web]
            command = "gunicorn app:app --bind {{host}}:{{port}}"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # [database]  # remove the first # and Banyan runs PostgreSQL: DATABASE_URL
        "##]],
    );
}

#[test]
fn rails() {
    check(
        "--- Gemfile\ngem \"rails\", \"~> 8.0\"\ngem \"pg\"\ngem \"puma\"\n--- config.ru\n",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Rails.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - Rails needs SECRET_KEY_BASE: put it in a secrets file and refer to it in [app.env].
            # - Run `bundle exec rails assets:precompile` before `banyan up` and `banyan deploy`.
            version = 1
            name = "my-shop"

            [app]
            # Once per deploy, before the new version gets traffic; its failure keeps the old one.
            release = "bundle exec rails db:migrate"
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [app.env]
            RAILS_ENV = "production"
            RAILS_LOG_TO_STDOUT = "1"

            [process.web]
            command = "bundle exec puma --bind tcp://{{host}}:{{port}}"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses pg; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn a_rack_app() {
    check(
        "--- Gemfile\ngem 'sinatra'\n--- config.ru\n",
        expect![[r##"
        # Written by `banyan init`, which took this folder for Ruby.
        # Every key and its default: `banyan config --manual`.
        version = 1
        name = "my-shop"

        [app]
        # release = "…"  # once per deploy, for example migrations
        # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

        [process.web]
        command = "bundle exec rackup --host {{host}} --port {{port}}"
        # A path that answers 200 when the instance can work: without it, deploys may lose requests.
        # ready = "/healthz"

        [edge]
        port = 8080
        public = false  # true: reachable from other machines

        # [database]  # remove the first # and Banyan runs PostgreSQL: DATABASE_URL
    "##]],
    );
}

#[test]
fn a_rust_program() {
    check(
        "--- Cargo.toml\n[package]\nname = \"shop-server\"\n[dependencies]\naxum = \"0.8\"\nsqlx = { version = \"0.8\" }\n",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Rust.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - Banyan does not build: run `cargo build --release` before `banyan up` and `banyan deploy`.
            # - The app must listen on the port in the environment variable PORT.
            version = 1
            name = "my-shop"

            [app]
            # release = "…"  # once per deploy, for example migrations
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [process.web]
            command = "./target/release/shop-server"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses sqlx; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}

#[test]
fn a_go_module() {
    check(
        "--- go.mod\nmodule example.com/team/shop/v2\n\nrequire github.com/jackc/pgx/v5 v5.7.0\n",
        expect![[r##"
            # Written by `banyan init`, which took this folder for Go.
            # Every key and its default: `banyan config --manual`.
            #
            # Please check:
            # - Banyan does not build: run `go build -o shop .` before `banyan up` and `banyan deploy`.
            # - The app must listen on the port in the environment variable PORT.
            version = 1
            name = "my-shop"

            [app]
            # release = "…"  # once per deploy, for example migrations
            # secrets = "secrets.env"  # NAME=value lines, chmod 600; {{secret.NAME}} refers to them

            [process.web]
            command = "./shop"
            # A path that answers 200 when the instance can work: without it, deploys may lose requests.
            # ready = "/healthz"

            [edge]
            port = 8080
            public = false  # true: reachable from other machines

            # PostgreSQL, run by Banyan, because the app uses github.com/jackc/pgx; it finds it by DATABASE_URL.
            [database]
            # url = "postgres://…"  # your own server instead
        "##]],
    );
}
