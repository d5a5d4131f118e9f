-- Inserts or replaces the row KEYS[1].
-- ARGV: now, the version to replace or '' to insert, skew, and the new row in parts:
-- version, seen, idle, expires, nonce or '' for the old one, tags, data.
-- Answers 'ok' with the old nonce and tags, 'conflict', 'none', or 'tags': the old nonce
-- cannot be kept, because the tags or their end are other ones.
local now, expected, skew, version, seen, idle, expires, nonce, tags, data = unpack(ARGV)
local old = row()
local live = now < old:sub(37, 52) and now < old:sub(53, 68)
if expected == '' then
  if live then return {'conflict'} end
else
  if not live then return {'none'} end
  if old:sub(1, 20) ~= expected then return {'conflict'} end
  if seen < old:sub(21, 36) then seen = old:sub(21, 36) end
  if idle < old:sub(37, 52) then idle = old:sub(37, 52) end
end
local membership = old:sub(69)
if nonce == '' then
  if membership:sub(9) ~= tags or old:sub(53, 68) < expires then return {'tags'} end
  nonce = membership:sub(1, 8)
end
redis.call('SET', KEYS[1], version .. seen .. idle .. expires .. nonce .. tags .. data, 'PXAT', kept(idle, expires, skew))
return {'ok', membership}
