-- drop_quarantined: take one entry out of the quarantine. Safe to repeat.
--
-- Arguments:
--   entry     as it stands in the list
--   operator
--   reason    or ''
--
-- Reply: 1, or 0 where it was gone already

local entry, operator, reason = unpack(ARGV, 3)
local QUARANTINE = NS .. 'quarantine'
if redis.call('LREM', QUARANTINE, 1, entry) == 0 then return 0 end
local said = cjson.decode(entry)
audit(said.transfer_id, 'quarantine.dropped',
  cjson.encode({ why = said.why, operator = operator, detail = text_or_nil(reason) }))
return 1
