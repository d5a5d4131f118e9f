-- Removes the row KEYS[1]. ARGV: now, the version it must have, or '' for any.
-- Answers 'ok', with the nonce and tags of what was removed, or 'conflict'.
local now, expected = unpack(ARGV)
local old = row()
local live = now < old:sub(37, 52) and now < old:sub(53, 68)
if live and expected ~= '' and expected ~= old:sub(1, 20) then return {'conflict'} end
redis.call('DEL', KEYS[1])
return {'ok', old:sub(69)}
