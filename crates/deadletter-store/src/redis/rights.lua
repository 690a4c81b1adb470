#!lua
-- Tries every command with a key that is used, and leaves nothing behind.
--
-- Keys: one that nothing else uses. Answers the name of the first command that is refused, and why.
local key = KEYS[1]
local tries = {
  {'DEL', key}, {'EXISTS', key},
  {'MSET', key, 'x'}, {'MGET', key}, {'APPEND', key, 'x'}, {'GET', key}, {'PEXPIRE', key, 60000},
  {'DEL', key},
  {'HSET', key, 'f', 1}, {'HSETNX', key, 'f', 1}, {'HINCRBY', key, 'f', 1},
  {'HGET', key, 'f'}, {'HMGET', key, 'f'}, {'HGETALL', key}, {'HEXISTS', key, 'f'},
  {'HDEL', key, 'f'},
  {'ZADD', key, 1, 'm'}, {'ZSCORE', key, 'm'}, {'ZCARD', key}, {'ZCOUNT', key, 0, 1},
  {'ZLEXCOUNT', key, '-', '+'}, {'ZRANGE', key, 0, 0}, {'ZREVRANGE', key, 0, 0},
  {'ZRANGEBYSCORE', key, 0, 1}, {'ZREVRANGEBYSCORE', key, 1, 0}, {'ZRANGEBYLEX', key, '-', '+'},
  {'ZREM', key, 'm'}, {'ZREMRANGEBYSCORE', key, 0, 1},
  {'SADD', key, 'm'}, {'SMEMBERS', key}, {'SREM', key, 'm'},
  {'RPUSH', key, 'x'}, {'LRANGE', key, 0, 0}, {'DEL', key},
}
for _, try in ipairs(tries) do
  local answer = redis.pcall(unpack(try))
  if type(answer) == 'table' and answer.err then
    redis.pcall('DEL', key)
    return {try[1], answer.err}
  end
end
return {}
