#!lua
-- Makes waiting tasks claimable that are due.
--
-- Keys: those that wait, by due time; those that are ready. Arguments: now; at most how many.
local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, turn in ipairs(due) do
  redis.call('ZADD', KEYS[2], 0, turn)
  redis.call('ZREM', KEYS[1], turn)
end
return #due
