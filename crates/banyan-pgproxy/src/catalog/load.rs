//! Fetches [`Rows`] over a control connection, all queries in one snapshot.

use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::rows::{
    ExpressionRow, ForeignKeyRow, FunctionKind, FunctionRow, Links, OperatorRow, RelationKind, RelationRow,
    Rows, Volatility,
};

/// The catalog could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {what} from the system catalogs")]
pub struct LoadError {
    what: &'static str,
    #[source]
    source: tokio_postgres::Error,
}

/// An empty search path makes the server qualify every name that it prints which is not its own.
const FUNCTIONS: &str = "
SELECT p.oid, n.nspname::text, p.proname::text, p.prokind::text, p.provolatile::text, l.lanname::text,
       CASE WHEN p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
            THEN coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) ELSE '' END,
       coalesce(p.probin, ''),
       CASE WHEN a.aggfnoid IS NULL OR p.oid < 16384 THEN '{}'::oid[] ELSE
            ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                  a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[] END,
       p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1
            AND (t.typtype IN ('c', 'd') OR t.typname LIKE 'any%' OR t.typname = 'record')
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
  LEFT JOIN pg_type t ON p.pronargs >= 1 AND t.oid = p.proargtypes[0]";

const OPERATORS: &str = "
SELECT n.nspname::text, o.oprname::text, o.oprcode::oid FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace";

const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'u', c.relrowsecurity,
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1'),
       CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'";

const EXPRESSIONS: &str = "
SELECT adrelid, false, pg_get_expr(adbin, adrelid) FROM pg_attrdef
UNION ALL SELECT conrelid, false, pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE contype = 'c' AND conbin IS NOT NULL
UNION ALL SELECT polrelid, true, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polqual IS NOT NULL
UNION ALL SELECT polrelid, true, pg_get_expr(polwithcheck, polrelid) FROM pg_policy WHERE polwithcheck IS NOT NULL";

const INHERITS: &str = "SELECT inhrelid, inhparent FROM pg_inherits";

const FOREIGN_KEYS: &str = "
SELECT conrelid, confrelid, confupdtype IN ('c', 'n', 'd'), confdeltype IN ('c', 'n', 'd') FROM pg_constraint WHERE contype = 'f'";

const TRIGGERS: &str = "SELECT tgrelid, tgfoid FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'";

const EVENT_TRIGGERS: &str = "SELECT evtfoid FROM pg_event_trigger WHERE evtenabled <> 'D'";

const IMPLIED: &str = "
SELECT castfunc FROM pg_cast WHERE castfunc >= 16384
UNION SELECT f FROM pg_type t, unnest(ARRAY[typinput, typoutput, typreceive, typsend]::oid[]) f WHERE t.oid >= 16384 AND f >= 16384";

/// Takes some 50 ms of the server's time, and as long as one transaction.
///
/// # Errors
/// A query failed, or the connection is gone.
pub async fn load(client: &mut Client) -> Result<Rows, LoadError> {
    let begun = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await;
    let transaction = begun.map_err(|source| LoadError {
        what: "a snapshot",
        source,
    })?;
    // What waits for older snapshots (DETACH PARTITION ... FINALIZE) would wait for this one, and this one for its locks: so it
    // gives up before the server looks for deadlocks (after 1 s), and is read again.
    let set = "SET LOCAL search_path = ''; SET LOCAL lock_timeout = '200ms'";
    let set = transaction.batch_execute(set).await;
    set.map_err(|source| LoadError {
        what: "a snapshot",
        source,
    })?;
    let rows = Rows {
        functions: all(&transaction, "functions", FUNCTIONS, function).await?,
        operators: all(&transaction, "operators", OPERATORS, operator).await?,
        relations: all(&transaction, "relations", RELATIONS, relation).await?,
        expressions: all(&transaction, "expressions", EXPRESSIONS, expression).await?,
        links: Links {
            inherits: all(&transaction, "inheritance", INHERITS, |row| {
                (row.get(0), row.get(1))
            })
            .await?,
            foreign_keys: all(&transaction, "foreign keys", FOREIGN_KEYS, foreign_key).await?,
            triggers: all(&transaction, "triggers", TRIGGERS, |row| (row.get(0), row.get(1))).await?,
            event_triggers: all(&transaction, "event triggers", EVENT_TRIGGERS, |row| row.get(0)).await?,
        },
        implied_functions: all(&transaction, "casts and types", IMPLIED, |row| row.get(0)).await?,
    };
    let ended = transaction.commit().await;
    ended.map_err(|source| LoadError {
        what: "a snapshot",
        source,
    })?;
    Ok(rows)
}

async fn all<T>(
    transaction: &Transaction<'_>,
    what: &'static str,
    query: &str,
    of: impl Fn(&Row) -> T,
) -> Result<Vec<T>, LoadError> {
    let rows = transaction.query(query, &[]).await;
    let rows = rows.map_err(|source| LoadError { what, source })?;
    Ok(rows.iter().map(of).collect())
}

fn text(row: &Row, column: usize) -> Box<str> {
    row.get::<_, &str>(column).into()
}

fn function(row: &Row) -> FunctionRow {
    FunctionRow {
        oid: row.get(0),
        schema: text(row, 1),
        name: text(row, 2),
        kind: match row.get::<_, &str>(3) {
            "p" => FunctionKind::Procedure,
            "a" => FunctionKind::Aggregate,
            "w" => FunctionKind::Window,
            _ => FunctionKind::Function,
        },
        volatility: match row.get::<_, &str>(4) {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        language: text(row, 5),
        body: text(row, 6),
        library: text(row, 7),
        parts: row.get(8),
        takes_row: row.get::<_, Option<bool>>(9).unwrap_or(false),
    }
}

fn operator(row: &Row) -> OperatorRow {
    OperatorRow {
        schema: text(row, 0),
        name: text(row, 1),
        function: row.get(2),
    }
}

fn relation(row: &Row) -> RelationRow {
    RelationRow {
        oid: row.get(0),
        schema: text(row, 1),
        name: text(row, 2),
        kind: match row.get::<_, &str>(3) {
            "v" => RelationKind::View,
            "f" => RelationKind::Foreign,
            "S" => RelationKind::Sequence,
            _ => RelationKind::Table,
        },
        unlogged: row.get(4),
        guarded: row.get(5),
        rewritten: row.get(6),
        view: row.get::<_, Option<&str>>(7).map(Into::into),
    }
}

fn expression(row: &Row) -> ExpressionRow {
    ExpressionRow {
        relation: row.get(0),
        policy: row.get(1),
        text: row.get::<_, Option<&str>>(2).unwrap_or_default().into(),
    }
}

fn foreign_key(row: &Row) -> ForeignKeyRow {
    ForeignKeyRow {
        from: row.get(0),
        to: row.get(1),
        on_update: row.get(2),
        on_delete: row.get(3),
    }
}
