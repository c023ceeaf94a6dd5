-- forbid: end a transfer that waits and that the rules don't allow, without a claim: nothing of it was sent.
--
-- Arguments:
--   transfer_id
--   judged  the intent that the worker has read, as JSON; a record with another one is left alone
--   reason
--   detail  one masked line
--
-- Reply: {'ended', outcome JSON} | {'other'}  no such record, not waiting, or with another intent

local transfer_id, judged, reason, detail = unpack(ARGV, 3)
local r = get(transfer_id, 'state', 'intent')
if r[1] ~= 'waiting' or r[2] ~= judged then return { 'other' } end
return { 'ended', endings().finish(transfer_id, 'transfer.finished',
  { state = 'rejected', reason = reason, detail = detail, source = 'worker' }) }
