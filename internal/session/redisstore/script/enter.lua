-- Enters a member into the tag KEYS[1], and removes some of those that are over.
-- ARGV: member, when its row is over, until when members count as over, when the tag may go.
local member, score, over, till = unpack(ARGV)
local gone = read('ZRANGE', KEYS[1], '-inf', over, 'BYSCORE', 'LIMIT', 0, 100)
if not gone then
  redis.call('DEL', KEYS[1])
elseif #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
end
redis.call('ZADD', KEYS[1], score, member)
if redis.call('PEXPIRETIME', KEYS[1]) < tonumber(till) then redis.call('PEXPIREAT', KEYS[1], till) end
return {'ok'}
