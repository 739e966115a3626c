-- KEYS[1]: entry. ARGV: token [, value, soft ms, hard ms, kept ms, ms the load took]. Without a value: only give the lease back.
-- 1: done. 0: the lease is not the caller's any more, nothing was touched.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'token', 'until')
if not ARGV[2] then return 1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'soft', now + ARGV[3], 'hard', now + ARGV[4], 'took', ARGV[6],
  'filled', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
