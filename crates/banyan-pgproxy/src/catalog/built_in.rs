//! PostgreSQL's own functions whose label alone does not tell.

/// Volatile, and yet the same on a replica as on the primary: they read nothing that is stored and leave nothing behind.
const READS: [&str; 8] = [
    "random",
    "clock_timestamp",
    "timeofday",
    "gen_random_uuid",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "current_query",
];

/// Stable, but of this server or this session: a replica would answer something else, or runs SQL that is hidden in text.
const OF_THE_SERVER: [&str; 31] = [
    "pg_backend_pid",
    "pg_current_snapshot",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "mxid_age",
    "pg_cursor",
    "pg_prepared_statement",
    "pg_listening_channels",
    "pg_show_all_settings",
    "pg_get_replication_slots",
    "pg_conf_load_time",
    "pg_postmaster_start_time",
    "pg_mcv_list_items",
    "pg_relation_filenode",
    "pg_relation_filepath",
    "pg_filenode_relation",
    "pg_config",
    "inet_server_addr",
    "inet_server_port",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
];

/// Volatile ones that change no row of any table.
const WRITES_NO_TABLE: [&str; 24] = [
    "nextval",
    "currval",
    "lastval",
    "setval",
    "set_config",
    "setseed",
    "pg_notify",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_advisory_unlock_all",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "pg_export_snapshot",
    "pg_is_in_recovery",
    "pg_cancel_backend",
    "pg_terminate_backend",
    "tsvector_update_trigger",
    "suppress_redundant_updates_trigger",
];

/// C libraries of Debian's PostgreSQL whose stable functions only compute (settings and dictionaries aside).
const LIBRARIES: [&str; 16] = [
    "pg_trgm",
    "citext",
    "hstore",
    "ltree",
    "unaccent",
    "pgcrypto",
    "uuid-ossp",
    "btree_gin",
    "btree_gist",
    "cube",
    "_int",
    "fuzzystrmatch",
    "isn",
    "seg",
    "vector",
    "dict_int",
];

/// Others of Debian's and of many services whose volatile functions leave a session as it was.
const LEAVE_NOTHING: [&str; 17] = [
    "moddatetime",
    "autoinc",
    "insert_username",
    "refint",
    "lo",
    "tablefunc",
    "pg_stat_statements",
    "pgstattuple",
    "pageinspect",
    "pg_buffercache",
    "pg_prewarm",
    "amcheck",
    "pgrowlocks",
    "pg_visibility",
    "pg_freespacemap",
    "tcn",
    "postgis-3",
];

/// Of these two, volatile means random.
const RANDOM_LIBRARIES: [&str; 2] = ["pgcrypto", "uuid-ossp"];

pub(super) fn volatile_is_read(name: &str) -> bool {
    READS.contains(&name)
}

pub(super) fn stable_is_read(name: &str) -> bool {
    !OF_THE_SERVER.contains(&name) && !name.starts_with("pg_stat_get_")
}

/// Volatile ones that are neither in the lists nor named as inspecting may write anywhere (`lo_put`, `query_to_xml`, ...).
pub(super) fn writes_no_table(name: &str) -> bool {
    volatile_is_read(name)
        || WRITES_NO_TABLE.contains(&name)
        || ["pg_stat_", "pg_ls_", "pg_read_", "pg_control_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || name.ends_with("_size")
        || name.starts_with("pg_") && name.contains("_wal_")
}

pub(super) fn library_computes(library: &str, volatile: bool) -> bool {
    let name = library.strip_prefix("$libdir/").unwrap_or_default();
    if volatile {
        RANDOM_LIBRARIES.contains(&name)
    } else {
        LIBRARIES.contains(&name)
    }
}

/// `set_limit` of pg_trgm changes a setting.
pub(super) fn library_leaves_nothing(library: &str, function: &str) -> bool {
    let name = library.strip_prefix("$libdir/").unwrap_or_default();
    (LIBRARIES.contains(&name) || LEAVE_NOTHING.contains(&name)) && function != "set_limit"
}
