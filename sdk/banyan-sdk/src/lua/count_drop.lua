-- KEYS[1]: count:{NAME}. ARGV: a window that is in the database.
redis.call('UNLINK', KEYS[1] .. ':' .. ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
