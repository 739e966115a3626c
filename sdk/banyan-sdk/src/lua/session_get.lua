-- KEYS: copy, epoch. ARGV: the caller's epoch.
-- X: copies of that epoch are not to be read. M: there is none. G: the session has ended. H data, ms left, 1 if no use prolongs it.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return { 'X' } end
local e = redis.call('HMGET', KEYS[1], 'v', 'd', 'f')
if not e[1] then return { 'M' } end
if not e[2] then return { 'G' } end
return { 'H', e[2], redis.call('PTTL', KEYS[1]), e[3] }
