-- begin_attempt: written before the request goes out. Safe to repeat by the holder of the token.
--
-- Arguments:
--   transfer_id
--   token
--   attempt  the number of the attempt to begin, from 1
--   call         the call's id as the worker has read it in the intent that it is about to carry out; or '', where it
--                says nothing of that intent
--   destination  likewise: the destination's name
--   derived      likewise: the labels, JSON, masked
--   signer       the id of the key that has signed that intent, or ''
--   signed_ms    the deadline that is signed, or ''
--
-- Reply: {'begun', remaining_ms}
--      | {'lost', state, outcome JSON or ''}  the right to act is gone: cancelled, altered, paused, taken over, too late, call moved

local transfer_id, token, attempt, call, destination, derived, signer, signed_ms = unpack(ARGV, 3)
local r = get(transfer_id, 'state', 'token', 'expires_ms', 'attempt', 'worker',
  'call_id', 'key', 'hop', 'labels', 'moved_by', 'labelled')
local state = r[1]
if not state and is_missing(transfer_id) then return { 'lost', 'missing', '' } end
if not OPEN[state] then return { 'lost', state, outcome_json(transfer_id) } end
if r[2] ~= token then return { 'lost', state, '' } end
local expires = math.min(demand(tonumber(r[3]), transfer_id), tonumber(signed_ms) or math.huge)
if state == 'sending' and r[4] == attempt then return { 'begun', int(expires - NOW) } end
if state ~= 'claimed' then return { 'lost', state, '' } end
-- A request that the network held back, and that was repeated and is long over: nobody waits for it.
if tonumber(attempt) ~= tonumber(r[4]) + 1 then return { 'lost', state, '' } end
if NOW >= expires then
  local outcome = endings().finish_late(transfer_id, 'worker')
  return { 'lost', cjson.decode(outcome).state, outcome }
end
if r[10] and r[10] ~= transfer_id then
  return { 'lost', 'rejected', endings().finish_moved(transfer_id, r[10]) }
end
local altered = finish_altered(transfer_id, { r[6], r[9], r[11] }, call, destination, derived)
if altered then return { 'lost', 'rejected', altered } end
local paused = finish_paused(transfer_id)
if paused then return { 'lost', 'rejected', paused } end

local event, _, data = begin_attempt(transfer_id, attempt, r[5], signer)
audit(transfer_id, event, data, { r[6], r[7], r[8], attempt, r[9] })
return { 'begun', int(expires - NOW) }
