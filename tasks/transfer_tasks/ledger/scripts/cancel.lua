-- cancel: withdraw a transfer that has not been sent.
--
-- Arguments:
--   transfer_id
--   reason  cancelled_by_session | cancelled_by_operator
--   source  session | operator
--   detail  who, and why; or ''
--
-- Reply: {'cancelled', outcome JSON} | {'ended', outcome JSON} | {'too_late', state} | {'missing'}

local transfer_id, reason, source, detail = unpack(ARGV, 3)
local state = get(transfer_id, 'state')[1]
if not state and is_missing(transfer_id) then return { 'missing' } end
if state == 'sending' then return { 'too_late', state } end
if not OPEN[state] then
  return { state == 'cancelled' and 'cancelled' or 'ended', outcome_json(transfer_id) }
end
return { 'cancelled', endings().finish(transfer_id, 'transfer.finished',
  { state = 'cancelled', reason = reason, source = source, detail = detail }) }
