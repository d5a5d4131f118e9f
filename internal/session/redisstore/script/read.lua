-- Stands before every other script. A key that holds what it ought not to is no fault of
-- the server, and counts as none.

-- read is what a command answers, or false when the key is of another type.
local function read(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if answer.err:sub(1, 9) ~= 'WRONGTYPE' then error(answer) end
  return false
end

-- row is the head and the tags of the row KEYS[1] if decodeRow can read it, or else ''.
local function row()
  local head = read('GETRANGE', KEYS[1], 0, 332) or ''
  local count = tonumber(head:sub(77, 77))
  if not count or #head < 77 + 32 * count then return '' end
  if head:sub(1, 68):find('%D') or head:sub(1, 20) > '18446744073709551615' then return '' end
  return head:sub(1, 77 + 32 * count)
end

-- kept is until when the server keeps a row, in milliseconds: longer than it lives, for
-- the clocks may be apart, and rows end by Genkan's.
local function kept(idle, expires, skew)
  return string.format('%.0f', math.max(1, math.min(tonumber(idle), tonumber(expires)) - 1e15 + skew))
end

