-- resolve: settle an `unknown` by evidence.
--
-- ARGV[3] transfer_id
-- ARGV[4] state   submitted | failed
-- ARGV[5] reason  transfer_confirmed | not_transferred
-- ARGV[6] source  session | operator
-- ARGV[7] detail  who, and what was seen; or ''
--
-- Reply: {'ended', outcome JSON}                       the record says so now (or said so before)
--      | {'refused', state, outcome JSON or ''}        it is open, or ended in something else
--      | {'missing'}

local id, state = ARGV[3], ARGV[4]
local current = get(id, 'state')[1]
if not current then return { 'missing' } end
if current == 'unknown' then
  return { 'ended', endings().finish(id, 'transfer.resolved',
    { state = state, reason = ARGV[5], source = ARGV[6], detail = ARGV[7] }) }
end
if current == state then return { 'ended', outcome_json(id) } end
return { 'refused', current, OPEN[current] and '' or outcome_json(id) }
