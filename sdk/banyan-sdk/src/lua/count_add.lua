-- KEYS[1]: count:{NAME}, its open windows. ARGV: key, by how much. The window is Redis's second.
local second = redis.call('TIME')[1]
redis.call('HINCRBY', KEYS[1] .. ':' .. second, ARGV[1], ARGV[2])
return redis.call('ZADD', KEYS[1], second, second)
