#!lua
-- Does what a call has decided, all of it or nothing: apply.rs writes these arguments.
--
-- Keys: what the store knows of itself; the last calls of this handle; events; their numbers by
-- task; and whatever the entries name.
-- Arguments: lane, number of the call in it, epoch, the sequence that the handle was told of, 1
-- where others should look; then entries, checks before writes.
-- Answers {what became of it, the sequence now}.
local call, unpack = redis.call, unpack
local about = call('HMGET', KEYS[1], 'epoch', 'seq')
local seq = tonumber(about[2]) or -1
if about[1] ~= ARGV[3] then return {'another', seq} end
if seq < tonumber(ARGV[4]) then return {'back', seq} end
-- A copy that comes late finds its own number, or that of a later call.
local last = call('HGET', KEYS[2], ARGV[1])
if last and tonumber(last) >= tonumber(ARGV[2]) then return {'done', seq} end
-- A right that was taken away since the opening would leave half of it written.
for _, name in ipairs({--[[all that rights.lua tries]]}) do
  if not redis.acl_check_cmd(name, KEYS[1]) then
    return redis.error_reply('NOPERM this user may not call ' .. name .. ' any more')
  end
end

local firsts = {}
local at, n = 6, #ARGV
while at <= n do
  local kind, command, key = ARGV[at], ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])]
  local from, to = at + 4, at + 3 + tonumber(ARGV[at + 3])
  at = to + 1
  if kind == '+' then
    call(command, key, unpack(ARGV, from, to))
  elseif kind == '=' then
    local answer = call(command, key, unpack(ARGV, from, to - 1))
    if tostring(answer or '') ~= ARGV[to] then return {'met', seq} end
  elseif kind == '?' then
    if not call(command, key, unpack(ARGV, from, to)) then return {'met', seq} end
  elseif kind == '<' then
    if tonumber(call(command, key, unpack(ARGV, from, to - 1))) > tonumber(ARGV[to]) then
      return {'met', seq}
    end
  elseif kind == '#' then
    for i = from, to, 2 do
      if call('HINCRBY', key, ARGV[i], ARGV[i + 1]) == 0 then call('HDEL', key, ARGV[i]) end
    end
  elseif kind == 'e' then
    local numbers, number = {}, call('HINCRBY', KEYS[1], 'events', (to - from + 1) / 2)
    number = number - (to - from + 1) / 2
    for i = from, to, 2 do
      number = number + 1
      call('XADD', KEYS[3], string.format('%d-0', number), 'b', ARGV[i + 1])
      numbers[#numbers + 1] = ARGV[i]
      numbers[#numbers + 1] = string.format('%016d', number)
      if #numbers >= 2000 or i + 1 == to then
        call('ZADD', KEYS[4], unpack(numbers))
        numbers = {}
      end
    end
  elseif kind == '1' then
    firsts[#firsts + 1] = {key, KEYS[tonumber(ARGV[from])], ARGV[to]}
  end
end
-- When all that waits is as it will be.
for _, first in ipairs(firsts) do
  local found = call('ZRANGE', first[1], 0, 0, 'WITHSCORES')
  if found[2] then call('ZADD', first[2], found[2], first[3])
  else call('ZREM', first[2], first[3]) end
end

call('HSET', KEYS[2], ARGV[1], ARGV[2])
-- Far longer than anybody sends a call again.
call('PEXPIRE', KEYS[2], 600000)
if ARGV[5] == '1' then seq = call('HINCRBY', KEYS[1], 'seq', 1) end
return {'done', seq}
