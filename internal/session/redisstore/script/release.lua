-- Ends the lease KEYS[1] if it is the owner's. ARGV: owner.
if read('GETRANGE', KEYS[1], 0, 15) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {'ok'}
