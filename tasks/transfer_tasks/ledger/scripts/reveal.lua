-- reveal: write down that somebody is about to see what was attached to a transfer.
--
-- Arguments:
--   transfer_id
--   operator
--   reason  or ''
--
-- Reply: 1, or 0 where there is no such record

local transfer_id, operator, reason = unpack(ARGV, 3)
if not get(transfer_id, 'state')[1] and is_missing(transfer_id) then return 0 end
audit(transfer_id, 'metadata.revealed', cjson.encode({ operator = operator, detail = text_or_nil(reason) }))
return 1
