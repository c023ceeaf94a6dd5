-- claim: the right to act on one transfer, as a fencing token. Safe to repeat with the same claim_id.
--
-- Arguments:
--   transfer_id
--   worker    the worker's id, as in its heartbeat
--   claim_id  new for every claim
--   routed    the intent that the worker holds and is ready to send, as JSON; or ''. Where it is the one on
--             record, the first attempt begins in the same step; else this claim begins nothing
--   call         the call's id as the worker has read it in `routed`, or ''
--   destination  likewise: the destination's name
--   derived      likewise: the labels, JSON, masked
--   signer       the id of the key that has signed that intent, or ''
--   signed_ms    the deadline that is signed, or ''
--
-- Reply: {'claimed', token, call_id, key, hop, attempt, remaining_ms, intent, signature}   attempt: those before this claim
--      | {'begun', …the same}     claimed, and its next attempt is on record: the request may go out
--      | {'ended', outcome JSON}  it ended before (or now: deadline passed, record altered, destination paused, limit reached, call moved)
--      | {'held', state, worker}  somebody else acts on it
--      | {'missing'}              no such record

local transfer_id, worker, claim_id, routed, call, destination, derived, signer, signed_ms = unpack(ARGV, 3)
local r = get(transfer_id, 'state', 'claim_id', 'expires_ms', 'token', 'accepted_ms', 'worker',
  'call_id', 'key', 'hop', 'attempt', 'intent', 'labels', 'moved_by', 'signature', 'counted')
local state, is_ours, expires, attempt = r[1], r[2] == claim_id, tonumber(r[3]), tonumber(r[10])
if not state and is_missing(transfer_id) then return { 'missing' } end
if not OPEN[state] then return { 'ended', outcome_json(transfer_id) } end

demand(tonumber(r[4]) and expires and r[7] and r[8] and tonumber(r[9]) and attempt and r[11], transfer_id)

local is_of_this = routed == r[11]
-- Somebody may have put the deadline on record off, but not the one that is signed.
if is_of_this and signed_ms ~= '' then expires = math.min(expires, tonumber(signed_ms)) end

local function answer(verdict, token, attempts)
  return { verdict, token, r[7], r[8], r[9], int(attempts), int(expires - NOW), r[11], r[14] or '' }
end

if state ~= 'waiting' then
  if not is_ours then return { 'held', state, r[6] or '' } end
  if state == 'claimed' then return answer('claimed', r[4], attempt) end
  return answer('begun', r[4], attempt - 1)
end
-- This claim was taken away since; it comes late, and nobody waits for its token.
if is_ours then return { 'held', state, r[6] or '' } end
if NOW >= expires then return { 'ended', endings().finish_late(transfer_id, 'worker') } end
if r[13] and r[13] ~= transfer_id then return { 'ended', endings().finish_moved(transfer_id, r[13]) } end
if not is_of_this then
  -- The worker has read another intent, or none. It will go by the one on record, and so do its labels; what they said
  -- is kept, until the worker has looked at the signature and comes to begin the attempt.
  local name, said = name_of_intent(r[11]), name_in(r[12])
  if name ~= said then
    r[12] = cjson.encode({ destination = name })
    set(transfer_id, 'labels', r[12], 'labelled', string.sub(tostring(said), 1, 64))
  end
end
local altered = is_of_this and finish_altered(transfer_id, { r[7], r[12] }, call, destination, derived)
if altered then return { 'ended', altered } end
local paused = finish_paused(transfer_id)
if paused then return { 'ended', paused } end
-- No `accept` has counted it: that of an older version, or none at all.
local limited = not r[15]
  and finish_limited(transfer_id, r[7], is_of_this and destination or name_of_intent(r[11]), r[11], r[14] or '')
if limited then return { 'ended', limited } end

local token = int(tonumber(r[4]) + 1)
local of = { r[7], r[8], r[9], r[10], r[12] }
AUDIT_IS_KEPT = true -- by `accept`, within one deadline
add_to(OPEN_IDS, transfer_id, -NOW)
set(transfer_id, 'state', 'claimed', 'token', token, 'worker', worker, 'claim_id', claim_id,
  'claimed_ms', int(NOW), 'counted', '1')
local said = cjson.encode({ worker = worker, waited_ms = NOW - tonumber(r[5]),
  signed_by = is_of_this and text_or_nil(signer) or nil })
if not is_of_this then
  audit(transfer_id, 'transfer.claimed', said, of)
  return answer('claimed', token, attempt)
end
audit(transfer_id, 'transfer.claimed', said, of, begin_attempt(transfer_id, int(attempt + 1), worker, signer))
return answer('begun', token, attempt)
