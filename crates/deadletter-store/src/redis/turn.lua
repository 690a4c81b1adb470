#!lua
-- Looks whether the server still has what the handle was told of; where another one answers, or it
-- went back, another life of the store begins, whose numbers lie beyond all that were given before.
--
-- Beats are lost like all else: whoever lived is silent from the turn on, and not for as long as the
-- server was behind. Who has put back what he wrote beats after it.
--
-- Keys: what the store knows of itself; who lives, by the last beat. Arguments: the epoch that the handle knows; which run of a
-- server answers; the sequence that the handle was told; now; how far numbers go on.
-- Answers {epoch, sequence, sequence at the end of the life that the handle knows, begin of the
-- present life}; an empty epoch where another store stands there. Lives are numbered in the epoch.
local call, key, living = redis.call, KEYS[1], KEYS[2]
-- More workers than a fleet has.
local MANY = 10000
local about = call('HMGET', key, 'epoch', 'seq', 'run', 'turned_at')
local epoch, seq = about[1] or '', tonumber(about[2]) or 0
local mark, life = string.match(epoch, '^([^+]*)%+?(%d*)$')
local known_mark, known_life = string.match(ARGV[1], '^([^+]*)%+?(%d*)$')
if epoch == '' or mark ~= known_mark then return {'', '0', '0', '0'} end
local turned_at = about[4] or '0'
if about[3] ~= ARGV[2] or (epoch == ARGV[1] and seq < tonumber(ARGV[3])) then
  life = math.max(tonumber(life) or 0, tonumber(known_life) or 0) + 1
  epoch, turned_at = mark .. '+' .. life, ARGV[4]
  call('HSET', key, 'epoch', epoch, 'run', ARGV[2], 'turned_at', turned_at, 'end:' .. life, seq)
  -- Nobody is away for so many lives.
  call('HDEL', key, 'end:' .. (life - 64))
  seq = call('HINCRBY', key, 'seq', ARGV[5])
  call('HINCRBY', key, 'events', ARGV[5])
  for _, worker in ipairs(call('ZRANGEBYSCORE', living, '-inf', '(' .. ARGV[4], 'LIMIT', 0, MANY)) do
    call('ZADD', living, 'XX', ARGV[4] - 1, worker)
  end
end
local ended
for n = (tonumber(known_life) or 0) + 1, tonumber(life) or 0 do
  ended = ended or call('HGET', key, 'end:' .. n)
end
return {epoch, tostring(seq), ended or '0', turned_at}
