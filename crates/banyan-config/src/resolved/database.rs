//! `[database]` and the tables below it.

use super::Writer;
use crate::backup::BackupSettings;
use crate::model::{ExternalDatabase, ManagedDatabase, PgproxyTable};
use crate::units::{format_bytes, format_duration};

pub(super) fn external(out: &mut Writer, external: &ExternalDatabase) {
    out.table("database");
    out.text("url", external.url.as_str());
    pgproxy(out, &external.pgproxy);
}

pub(super) fn managed(out: &mut Writer, database: &ManagedDatabase) {
    out.table("database");
    if let Some(postgres) = database.postgres {
        out.line("postgres", postgres);
    }
    if let Some(port) = database.port {
        out.line("port", port);
    }
    if let Some(dir) = &database.dir {
        out.text("dir", &dir.to_string_lossy());
    }
    if let Some(memory) = database.memory_bytes {
        out.text("memory", &format_bytes(memory));
    }
    out.line("max_connections", database.max_connections);
    if let Some(name) = &database.name {
        out.text("name", name);
    }
    out.line("replicas", database.replicas);
    out.text("durability", database.durability.name());
    out.text("reads", &database.reads.to_string());
    pgproxy(out, &database.pgproxy);
    if let Some(settings) = &database.backup {
        backup(out, settings);
    }
    if !database.settings.is_empty() {
        out.table("database.settings");
        for (name, value) in &database.settings {
            out.text(name, value);
        }
    }
}

fn pgproxy(out: &mut Writer, table: &PgproxyTable) {
    let PgproxyTable {
        direct,
        port,
        pool,
        hold,
        measure,
        admins,
    } = table;
    out.table("database.pgproxy");
    out.line("direct", direct);
    if let Some(port) = port {
        out.line("port", port);
    }
    out.text("mode", pool.mode.name());
    out.line("pool", pool.size);
    out.line("max_clients", pool.max_clients);
    out.text("wait", &format_duration(pool.wait));
    out.text("grace", &format_duration(hold.grace));
    out.text("hold", &format_duration(hold.limit));
    out.line("measure", measure.statements);
    out.text("slow_query", &format_duration(measure.slow_query));
    if !admins.is_empty() {
        out.list("admins", admins.iter().cloned());
    }
}

fn backup(out: &mut Writer, settings: &BackupSettings) {
    let BackupSettings {
        path,
        full,
        differential,
        incremental,
        at,
        keep,
        limit,
        processes,
        archive_timeout,
        queue_bytes,
    } = settings;
    out.table("database.backup");
    out.text("path", &path.to_string_lossy());
    out.text("full", &format_duration(*full));
    for (name, interval) in [("differential", differential), ("incremental", incremental)] {
        if let Some(interval) = interval {
            out.text(name, &format_duration(*interval));
        }
    }
    out.text("at", &at.to_string());
    out.line("keep", keep);
    out.text("limit", &format_duration(*limit));
    out.line("processes", processes);
    out.text("archive_timeout", &format_duration(*archive_timeout));
    out.text("queue", &format_bytes(*queue_bytes));
}
