//! Backends per (database, user, node): granted first in, first out; never more than the size.
