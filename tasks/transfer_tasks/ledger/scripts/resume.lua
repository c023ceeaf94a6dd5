-- resume: take one pause back. Safe to repeat.
--
-- ARGV[3] destination  as it was paused; '*' takes back the pause of all, and no other
-- ARGV[4] operator
-- ARGV[5] reason       or ''
--
-- Reply: 1, or 0 where there was no such pause

if redis.call('HDEL', PAUSED, ARGV[3]) == 0 then return 0 end
audit('', 'destination.resumed',
  cjson.encode({ destination = ARGV[3], operator = ARGV[4], detail = text_or_nil(ARGV[5]) }))
return 1
