#!lua
-- Does what a call has decided, all of it or nothing: apply.rs writes these arguments.
--
-- Keys: what the store knows of itself; the last calls of this handle; events; their numbers by
-- task; and whatever the entries name.
-- Arguments: lane, number of the call in it, epoch, the sequence that the handle was told of, 1
-- where others should look; how many commands are called once something is written, and these;
-- then entries, checks before writes.
-- Answers {what became of it, the sequence now}.
local call, unpack, sub = redis.call, unpack, string.sub
local about = call('HMGET', KEYS[1], 'epoch', 'seq')
local seq = tonumber(about[2]) or -1
if about[1] ~= ARGV[3] then return {'another', seq} end
if seq < tonumber(ARGV[4]) then return {'back', seq} end
-- A copy that comes late finds its own number, or that of a later call.
local last = call('HGET', KEYS[2], ARGV[1])
if last and tonumber(last) >= tonumber(ARGV[2]) then return {'done', seq} end
-- A right that was taken away since the opening would leave half of it written.
local at, n = 7, #ARGV
for _ = 1, tonumber(ARGV[6]) do
  if not redis.acl_check_cmd(ARGV[at], KEYS[1]) then
    return redis.error_reply('NOPERM this user may not call ' .. ARGV[at] .. ' any more')
  end
  at = at + 1
end

local firsts = {}
while at <= n do
  local kind, command, number = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local key, count = KEYS[number], tonumber(ARGV[at + 3])
  local from, to = at + 4, at + 3 + count
  at = to + 1
  if kind == '+' then
    call(command, key, unpack(ARGV, from, to))
  elseif kind == 's' then
    local found = call('MGET', unpack(KEYS, number, number + count - 1))
    for i = 1, count do
      local value, wanted = found[i], ARGV[from + i - 1]
      if wanted == '' then
        if value then return {'met', seq} end
      elseif not value or sub(value, 1, #wanted) ~= wanted then
        return {'met', seq}
      end
    end
  elseif kind == 'S' then
    local words = {}
    for i = 0, count - 1 do
      words[2 * i + 1] = KEYS[number + i]
      words[2 * i + 2] = ARGV[from + i]
    end
    call('MSET', unpack(words))
  elseif kind == 'f' then
    local fields = {}
    for i = from, to, 2 do fields[#fields + 1] = ARGV[i] end
    local found = call('HMGET', key, unpack(fields))
    for i = 1, #fields do
      if (found[i] or '') ~= ARGV[from + 2 * i - 1] then return {'met', seq} end
    end
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
    local fields, sums, gone = {}, {}, {}
    for i = from, to, 2 do fields[#fields + 1] = ARGV[i] end
    local found = call('HMGET', key, unpack(fields))
    for i = 1, #fields do
      local sum = (tonumber(found[i]) or 0) + tonumber(ARGV[from + 2 * i - 1])
      if sum ~= 0 then
        sums[#sums + 1] = fields[i]
        sums[#sums + 1] = sum
      elseif found[i] then
        gone[#gone + 1] = fields[i]
      end
    end
    if #sums > 0 then call('HSET', key, unpack(sums)) end
    if #gone > 0 then call('HDEL', key, unpack(gone)) end
  elseif kind == 'e' then
    local last = call('HINCRBY', KEYS[1], 'events', count / 2)
    local first, events, numbers = last - count / 2, {}, {}
    for i = 1, count, 2 do
      local number = first + (i + 1) / 2
      local name = string.format('%016d', number)
      events[i], events[i + 1] = number, name .. ARGV[from + i]
      numbers[i], numbers[i + 1] = ARGV[from + i - 1], name
    end
    call('ZADD', KEYS[3], unpack(events))
    call('ZADD', KEYS[4], unpack(numbers))
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
