
-- end_attempt: the platform has accepted the request, and has named no id of it. Nothing else has become of the transfer meanwhile.
local function take_usual_step()
  local id, token, state, reason, http_status, detail, answer, attempt_ms = unpack(ARGV, 3)
  if state ~= 'submitted' or detail ~= '' or string.find(answer, '"request_id"', 1, true) then return nil end
  local record = record_key(id)
  local r = redis.pcall('HMGET', record, 'state', 'token', 'attempt', 'worker', 'begun_ms', 'accepted_ms', 'labels',
    'call_id', 'key', 'hop', 'reply_to', 'signer', 'moved_by', 'reason', 'claimed_ms')
  if r.err or r[1] ~= 'sending' or r[2] ~= token or r[13] or r[14] then return nil end
  local attempt, begun, accepted, hop, claimed = tonumber(r[3]), tonumber(r[5]), tonumber(r[6]), tonumber(r[10]), tonumber(r[15])
  if not (attempt and begun and accepted and hop and claimed and r[8] and r[9]) or not string.match(reason, '^[%l_]+$') then return nil end
  local waited = NOW - accepted
  if waited > RETENTION * 10 then return nil end
  local now, destination = int(NOW), read_labels(r[7])
  if not may_be_shown(destination) then return nil end
  local endings = ended_key('submitted', NOW)
  if not (may('RPUSH', endings) and may('RPOP', endings) and may('HSET', record) and may('ZREM', OPEN_IDS)
      and may('ZADD', OPEN_IDS) and may('XADD', AUDIT) and may('EXPIRE', endings)) then return nil end

  attempt_ms = tonumber(attempt_ms)
  local status = tonumber(http_status)
  -- Any of these three may hold something else. What was written before such a one is taken back.
  local was_listed = redis.pcall('ZREM', OPEN_IDS, id)
  if has_failed(was_listed) then return nil end
  local length = redis.pcall('RPUSH', endings, ended_line(id, reason, destination))
  local line = not has_failed(length) and redis.pcall('XADD', audit_entry(id, 'transfer.finished',
    cjson.encode({ state = state, reason = reason, source = 'worker', http_status = status, attempt_ms = attempt_ms,
      worker = r[4], waited_ms = waited, signed_by = text_or_nil(r[12] or '') }), { r[8], r[9], r[10], r[3], r[7] }))
  if not line or has_failed(line) then
    if line then redis.call('RPOP', endings) end
    if was_listed == 1 then list_open(id, -claimed) end
    return nil
  end
  if length == 1 then redis.call('EXPIRE', endings, LIFE_OF_ENDED) end
  redis.call('HSET', record, 'state', state, 'reason', reason, 'source', 'worker', 'http_status', http_status,
    'ended_ms', now, 'claim_id', '', 'attempt:' .. r[3],
    cjson.encode({ attempt_ms = attempt_ms, answer = text_or_nil(answer) }))
  for channel in string.gmatch(r[11] or '', '%S+') do redis.pcall('PUBLISH', channel, id) end

  local notes = { 'b1 attempt|' .. reason }
  if r[3] == '1' then
    local span = math.max(begun - accepted, 0) -- Redis's clock may be set back
    notes[2], notes[3] = 'b1 post_ms|' .. bucket_of(span), 't' .. int(span) .. ' post_ms_sum'
  end
  waited = math.max(waited, 0)
  notes[#notes + 1] = 'b1 ended|submitted|' .. reason .. '|' .. destination
  notes[#notes + 1] = 't1 outcome_ms|' .. bucket_of(waited)
  notes[#notes + 1] = 't' .. int(waited) .. ' outcome_ms_sum'
  notes[#notes + 1] = 't1 posts|' .. r[3]
  leave_note(notes)
  return { 'ended', cjson.encode({ transfer_id = id, call_id = r[8], state = state, reason = reason, attempts = attempt,
    hop = hop, source = 'worker', http_status = status or cjson.null, detail = detail, ended_at_ms = NOW }) }
end
