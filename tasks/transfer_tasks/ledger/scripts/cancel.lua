-- cancel: withdraw a transfer that has not been sent.
--
-- ARGV[3] transfer_id
-- ARGV[4] reason  cancelled_by_session | cancelled_by_operator
-- ARGV[5] source  session | operator
-- ARGV[6] detail  who, and why; or ''
--
-- Reply: {'cancelled', outcome JSON} | {'ended', outcome JSON} | {'too_late', state} | {'missing'}

local id, reason = ARGV[3], ARGV[4]
local state = get(id, 'state')[1]
if not state then return { 'missing' } end
if state == 'sending' then return { 'too_late', state } end
if not OPEN[state] then
  return { state == 'cancelled' and 'cancelled' or 'ended', outcome_json(id) }
end
return { 'cancelled', endings().finish(id, 'transfer.finished',
  { state = 'cancelled', reason = reason, source = ARGV[5], detail = ARGV[6] }) }
