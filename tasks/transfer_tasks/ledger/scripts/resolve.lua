-- resolve: settle an `unknown` by evidence.
--
-- Arguments:
--   transfer_id
--   state   submitted | failed
--   reason  transfer_confirmed | not_transferred
--   source  session | operator
--   detail  who, and what was seen; or ''
--
-- Reply: {'ended', outcome JSON}                       the record says so now (or said so before)
--      | {'refused', state, outcome JSON or ''}        it is open, or ended in something else
--      | {'missing'}

local transfer_id, state, reason, source, detail = unpack(ARGV, 3)
local current = get(transfer_id, 'state')[1]
if not current and is_missing(transfer_id) then return { 'missing' } end
if current == 'unknown' then
  return { 'ended', endings().finish(transfer_id, 'transfer.resolved',
    { state = state, reason = reason, source = source, detail = detail }) }
end
if current == state then return { 'ended', outcome_json(transfer_id) } end
return { 'refused', current, OPEN[current] and '' or outcome_json(transfer_id) }
