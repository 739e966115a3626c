-- KEYS: entries. ARGV: token, lease in ms, share of the last load's time by which to refresh early (0: never early).
-- Of each entry two answers, the second a value for H and S. H: fresh. S: past its soft time, somebody else loads.
-- L: the caller has the lease and loads. B: somebody else has it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function look(key)
  local e = redis.call('HMGET', key, 'value', 'soft', 'hard', 'took', 'token', 'until')
  local usable = e[1] and now < tonumber(e[3])
  if usable and now + tonumber(e[4]) * tonumber(ARGV[3]) < tonumber(e[2]) then return 'H', e[1] end
  if not e[5] or e[5] == ARGV[1] or tonumber(e[6]) <= now then
    redis.call('HSET', key, 'token', ARGV[1], 'until', now + ARGV[2])
    if not e[1] then redis.call('PEXPIRE', key, ARGV[2]) end
    return 'L', ''
  end
  if usable then return 'S', e[1] end
  return 'B', ''
end
local answers = {}
for at, key in ipairs(KEYS) do
  answers[2 * at - 1], answers[2 * at] = look(key)
end
return answers
