-- KEYS: epoch. ARGV: the session, its version [, ms to keep [, data, 1 if no use prolongs it, the epoch before it was read or written]].
-- A newer or equal version stays. With a time and no data: it has ended, and the mark stays for that time. With a version alone, or
-- when another epoch began meanwhile: what is older goes.
local epoch = redis.call('GET', KEYS[1])
if not epoch then return 0 end
local copy = 'session:' .. epoch .. ':' .. ARGV[1]
local old = tonumber(redis.call('HGET', copy, 'v') or -1)
if old >= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', copy)
if not ARGV[3] or ARGV[4] and ARGV[6] ~= epoch then return 0 end
redis.call('HSET', copy, 'v', ARGV[2])
if ARGV[4] then redis.call('HSET', copy, 'd', ARGV[4], 'f', ARGV[5]) end
redis.call('PEXPIRE', copy, ARGV[3])
return 1
