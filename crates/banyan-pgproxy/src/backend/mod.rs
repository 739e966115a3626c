//! A connection to a PostgreSQL server: how it logs in, what its session holds, which replies it owes.
