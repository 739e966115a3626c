-- KEYS[1]: entry, a list of numbers, the greatest first. ARGV: number, how many to keep, whose fill the caller saw before its commit
-- ('': add nothing). A load under way did not see the number: its lease goes. What cannot be put right goes, too.
local e = redis.call('HMGET', KEYS[1], 'value', 'filled')
redis.call('HDEL', KEYS[1], 'token', 'until')
if not e[1] then return 0 end
if not string.find(e[1], '^%[[%d,]*%]$') then return redis.call('UNLINK', KEYS[1]) end
local list, at, new, keep = {}, 1, ARGV[1], tonumber(ARGV[2])
for n in string.gmatch(e[1], '%d+') do
  if n == new then return 1 end
  list[#list + 1] = n
  if #n > #new or #n == #new and n > new then at = #list + 1 end
end
if at > keep then return 1 end
if e[2] ~= ARGV[3] then return redis.call('UNLINK', KEYS[1]) end
table.insert(list, at, new)
list[keep + 1] = nil
return redis.call('HSET', KEYS[1], 'value', '[' .. table.concat(list, ',') .. ']')
