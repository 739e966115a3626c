-- KEYS[1]: entry. ARGV: token, lease in ms, share of the last load's time by which to refresh early (0: never early).
-- H value: fresh. S value: past its soft time, somebody else loads. L: the caller has the lease and loads. B: somebody else has it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local e = redis.call('HMGET', KEYS[1], 'value', 'soft', 'hard', 'took', 'token', 'until')
local usable = e[1] and now < tonumber(e[3])
if usable and now + tonumber(e[4]) * tonumber(ARGV[3]) < tonumber(e[2]) then return { 'H', e[1] } end
if not e[5] or e[5] == ARGV[1] or tonumber(e[6]) <= now then
  redis.call('HSET', KEYS[1], 'token', ARGV[1], 'until', now + ARGV[2])
  if not e[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return { 'L' }
end
if usable then return { 'S', e[1] } end
return { 'B' }
