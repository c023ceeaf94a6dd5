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
local said = read_object(entry) or {}
local transfer_id = type(said.transfer_id) == 'string' and said.transfer_id or ''
local why = type(said.why) == 'string' and said.why or "an entry that can't be read"
if not redis.call('LPOS', QUARANTINE, entry) then return 0 end
write('LREM', QUARANTINE, 1, entry)
audit(transfer_id, 'quarantine.dropped',
  cjson.encode({ why = why, operator = operator, detail = text_or_nil(reason) }))
return 1
