-- Takes or prolongs the lease KEYS[1]: owner, '1' when inherited, and its end by this
-- server's clock. ARGV: owner, ttl and how much longer the lease is kept, in milliseconds.
-- Answers 'refused', 'held' or 'inherited'.
local owner, ttl, kept = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local old = read('GET', KEYS[1])
local inherited = '0'
if old then
  inherited = old:sub(17, 17)
  if old:sub(1, 16) ~= owner then
    if now < (tonumber(old:sub(18)) or 0) then return {'refused'} end
    inherited = '1'
  end
end
redis.call('SET', KEYS[1], owner .. inherited .. string.format('%.0f', now + ttl), 'PX', string.format('%.0f', ttl + kept))
if inherited == '1' then return {'inherited'} end
return {'held'}
