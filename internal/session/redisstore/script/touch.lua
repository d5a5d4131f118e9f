-- Moves seen and idle of the row KEYS[1] forwards. ARGV: now, skew, seen, idle.
-- Answers 'ok' or 'none'.
local now, skew, seen, idle = unpack(ARGV)
local old = row()
local oldseen, oldidle, expires = old:sub(21, 36), old:sub(37, 52), old:sub(53, 68)
if now >= oldidle or now >= expires then return {'none'} end
if seen < oldseen then seen = oldseen end
if idle < oldidle then idle = oldidle end
if seen ~= oldseen or idle ~= oldidle then
  redis.call('SETRANGE', KEYS[1], 20, seen .. idle)
  redis.call('PEXPIREAT', KEYS[1], kept(idle, expires, skew))
end
return {'ok'}
