-- resume: take one pause back. Safe to repeat.
--
-- Arguments:
--   destination  as it was paused; '*' takes back the pause of all, and no other
--   operator
--   reason       or ''
--
-- Reply: 1, or 0 where there was no such pause

local destination, operator, reason = unpack(ARGV, 3)
if redis.call('HEXISTS', PAUSED, destination) == 0 then return 0 end
write('HDEL', PAUSED, destination)
audit('', 'destination.resumed',
  cjson.encode({ destination = destination, operator = operator, detail = text_or_nil(reason) }))
return 1
