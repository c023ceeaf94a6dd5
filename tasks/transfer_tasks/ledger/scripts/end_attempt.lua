-- end_attempt: what one attempt taught us; either the transfer's ending, or a wait for the next attempt.
-- Safe to repeat by the holder of the token. A transfer that was given up as `unknown` while its worker was
-- held up is corrected here, also when evidence has settled it since: the answer that comes late is the truth.
--
-- Arguments:
--   transfer_id
--   token
--   state          the ending, or 'claimed' to try again
--   reason
--   http_status    or ''
--   detail         one masked line, or ''
--   answer         the platform's whole answer as JSON, or ''
--   attempt_ms     how long the request took
--   wait_ms        until the next attempt, or ''
--   after_attempt  the number of the attempt that a wait follows, or ''
--
-- Reply: {'ended', outcome JSON} | {'again'} | {'lost', state, outcome JSON or ''}

local transfer_id, token, state, reason, http_status, detail, answer, attempt_ms, wait_ms,
  after_attempt = unpack(ARGV, 3)
attempt_ms = tonumber(attempt_ms)
-- With what an ending needs besides: one read.
local r = get(transfer_id, 'state', 'token', 'attempt', 'reason', 'source', 'worker', 'begun_ms', 'accepted_ms',
  'labels', 'call_id', 'key', 'hop', 'reply_to', 'moved_by', 'http_status', 'detail', 'ended_ms', 'reported',
  'signer')
local current, attempt = r[1], r[3]
if not current and is_missing(transfer_id) then return { 'lost', 'missing', '' } end
if r[2] ~= token then
  -- Nobody sends with an old token, unless Redis has lost what it had said: then the next holder may send, too.
  local late = 'late:' .. token
  if (state == 'submitted' or state == 'unknown') and not get(transfer_id, late)[1] then
    set(transfer_id, late, state)
    endings().meet_request_of(transfer_id, transfer_id)
  end
  return { 'lost', current, OPEN[current] and '' or outcome_json(transfer_id) }
end
-- A wait that the network held back, and that was repeated and is long over: the next attempt is under way.
if state == 'claimed' and after_attempt ~= '' and after_attempt ~= attempt then return { 'again' } end

-- A 409 says that some transfer of the call is running at the platform, not which. It may be ours: an attempt of
-- this transfer, or an earlier one of the call. docs/outcomes.md has the cases; asked again, it finds the same.
local function judge_conflict()
  local IS_NOT_RUNNING = { platform_unreachable = true, not_sent = true, refused_by_platform = true,
    call_not_found = true, unauthorized = true, transfer_in_progress = true }

  local function has_sent(id, attempts)
    for number = 1, attempts do
      -- One of which there is no note may have been.
      local said = read_object(redis.call('HGET', record_key(id), 'attempt:' .. int(number)))
      if not (said and IS_NOT_RUNNING[said.reason or '']) then return true end
    end
    return false
  end

  if has_sent(transfer_id, tonumber(attempt) - 1) then return 'unknown', 'in_progress_after_attempt' end
  local of = get(transfer_id, 'call_id', 'hop')
  for hop = tonumber(of[2]) - 1, 1, -1 do
    local earlier = redis.call('LINDEX', NS .. 'call:' .. of[1], int(hop - 1))
    local e = earlier and get(earlier, 'state', 'reason', 'attempt') or {}
    if e[1] == 'submitted' then break end -- it is what is running
    if e[2] == 'not_transferred' then
      endings().finish(earlier, 'transfer.resolved', { state = 'submitted', reason = 'transfer_confirmed',
        source = 'platform', detail = 'answered to transfer ' .. transfer_id .. ': ' .. detail })
      break
    end
    if e[1] and has_sent(earlier, tonumber(e[3])) then return 'unknown', 'in_progress_after_attempt' end
  end
  return state, reason
end
if reason == 'transfer_in_progress' then state, reason = judge_conflict() end

-- The platform has named a request of this call, also by a 409: from now on it is asked how that goes (take_poll.lua).
local function plan_poll()
  local FIRST_MS, WHOLE_MS, MAX_PLANNED = 2000, 15 * 60000, 10000
  local request_id, POLLS, NOTES = request_id_in(answer), NS .. 'polls', NS .. 'poll_notes'
  if not request_id then return end
  if state ~= 'submitted' then connections().note_request(r[10], request_id) end
  if redis.call('HEXISTS', NOTES, request_id) == 1 or redis.call('ZCARD', POLLS) >= MAX_PLANNED then return end
  write('ZADD', POLLS, int(NOW + FIRST_MS), request_id)
  write('HSET', NOTES, request_id, cjson.encode({ call_id = r[10], number = 0, until_ms = NOW + WHOLE_MS }))
  keep(POLLS)
  keep(NOTES)
end

local function note_attempt()
  if current == 'claimed' then return end -- an ending between attempts says nothing of the last one
  local note = { attempt_ms = attempt_ms }
  -- Of one that was accepted, which is the last, the record says the rest.
  if state ~= 'submitted' then
    note.begun_ms, note.ended_ms, note.reason, note.worker = tonumber(r[7]), NOW, reason, r[6]
    note.http_status, note.detail = tonumber(http_status), text_or_nil(detail)
  end
  if answer ~= '' then
    note.answer = answer
    plan_poll()
  end
  set(transfer_id, 'attempt:' .. attempt, cjson.encode(note))
end

local ending = { state = state, reason = reason, http_status = http_status, detail = detail, source = 'worker',
  data = { attempt_ms = attempt_ms, worker = r[6] } }

local was_given_up = (current == 'unknown' and r[5] == 'recovery') or r[4] == 'not_transferred'
if was_given_up then
  if state == 'unknown' then return { 'ended', outcome_json(transfer_id) } end
  if state == 'claimed' then
    -- Proven not carried out, but the session has long been told `unknown`: no further attempt.
    ending.state = 'failed'
  end
  if ending.state == current then return { 'ended', outcome_json(transfer_id) } end
  if get(transfer_id, 'erased_ms')[1] then answer, detail, ending.detail = '', '', '' end
  note_attempt()
  local outcome = endings().finish(transfer_id, 'transfer.resolved', ending)
  if ending.state == 'submitted' then
    endings().meet_later_transfers(transfer_id)
    connections().learn_from(transfer_id, answer)
  else
    connections().look_again(transfer_id)
  end
  return { 'ended', outcome }
end
if not OPEN[current] then
  if current == state and r[4] == reason then return { 'ended', outcome_json(transfer_id) } end
  return { 'lost', current, outcome_json(transfer_id) }
end
AUDIT_IS_KEPT = true -- by `accept`, within one deadline
if current == 'sending' then count_attempt(transfer_id, reason) end
-- The platform has reported on this request meanwhile, so it has it: whatever became of the answer, no attempt follows.
-- Only where it refuses this very request, the report was of another.
local reported = r[18]
if reported and state == 'rejected' then
  connections().disown(transfer_id)
elseif reported and current == 'sending' and state ~= 'submitted' then
  ending = confirmation(reported, '; its answer: ' .. reason)
  ending.data = { attempt_ms = attempt_ms, worker = r[6] }
end
if ending.state ~= 'claimed' then
  note_attempt()
  local outcome = endings().finish(transfer_id, 'transfer.finished', ending)
  if state == 'submitted' then
    connections().learn_from(transfer_id, answer)
  elseif ending.state == 'rejected' or ending.state == 'failed' then
    connections().look_again(transfer_id)
  end
  return { 'ended', outcome }
end
if current == 'claimed' then return { 'again' } end

note_attempt()
set(transfer_id, 'state', 'claimed', 'last_reason', reason, 'last_http_status', http_status,
  'last_detail', detail)
local data = { reason = reason, http_status = tonumber(http_status), attempt_ms = attempt_ms,
  wait_ms = tonumber(wait_ms), worker = r[6] }
if detail ~= '' then data.detail = detail end
audit(transfer_id, 'transfer.retry_scheduled', cjson.encode(data))
return { 'again' }
