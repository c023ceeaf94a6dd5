-- drop_quarantined: take one entry out of the quarantine. Safe to repeat.
--
-- ARGV[3] entry     as it stands in the list
-- ARGV[4] operator
-- ARGV[5] reason    or ''
--
-- Reply: 1, or 0 where it was gone already

local QUARANTINE = NS .. 'quarantine'
if redis.call('LREM', QUARANTINE, 1, ARGV[3]) == 0 then return 0 end
local entry = cjson.decode(ARGV[3])
audit(entry.transfer_id, 'quarantine.dropped',
  cjson.encode({ why = entry.why, operator = ARGV[4], detail = text_or_nil(ARGV[5]) }))
return 1
