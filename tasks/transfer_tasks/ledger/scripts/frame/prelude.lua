-- Redis rolls nothing back. So a step reads and checks everything before it writes anything: what is to be written is
-- collected, and `commit` (finish.lua) writes it when the reply is there.
--
--   read, check, compute the reply   commit: permissions, types   every write   words to listeners, counters
--   |<------- an error here has changed nothing ---------------->|             |<-- an error here stops nothing -->|
--
-- Redis 6.2 can't be asked for permissions. There, and wherever else an error stops the writes midway, whoever asked
-- is told that the step may have happened: every step is safe to repeat.
local WRITES, WORDS, COUNTS = {}, {}, {}
local REQUESTER                    -- who is counted in this slice of time, as asking
local LIFE_OF_NEW = {}             -- key -> seconds to live, set where the key is made
local HAS_ITS_TYPE, READ = {}, {}  -- keys whose type is known; ids of records that were read
local CHANGED, REPLACED = {}, {}   -- id -> field -> value, and id -> true: what is not written yet
local KNOWN = {}                   -- id -> field -> value: what was read
local IS_TIME_TO_COUNT = false     -- whether what steps have noted is added up, too
local AUDIT_IS_KEPT = false        -- whether the outbox has its time to live

local commit, forget

local function write(...) WRITES[#WRITES + 1] = { ... } end

local function keep(key) write('EXPIRE', key, RETENTION) end

-- A refusal that anybody can cause any number of times: an hour is enough for a redelivery.
local function keep_for_an_hour(key) write('EXPIRE', key, math.min(RETENTION, 3600)) end

local function add_to(index, id, score)
  write('ZADD', index, int(score), id)
  keep(index)
end

-- What a record says, or will say when this step has written.
local function get(id, ...)
  local fields, found, known, changed = { ... }, {}, KNOWN[id] or {}, CHANGED[id] or {}
  if not REPLACED[id] then
    local is_known = true
    for _, field in ipairs(fields) do is_known = is_known and known[field] ~= nil end
    if not is_known then
      local key = record_key(id)
      READ[id] = true
      for at, value in ipairs(redis.call('HMGET', key, ...)) do known[fields[at]] = value end
      KNOWN[id], HAS_ITS_TYPE[key] = known, true
    end
  end
  for at, field in ipairs(fields) do
    if changed[field] ~= nil then found[at] = changed[field] else found[at] = known[field] end
  end
  return found
end

-- What changes of a record is one write of all of it, where the first change was made; `check_writes` spells it out.
local function change(id)
  if not CHANGED[id] then
    CHANGED[id] = {}
    write('CHANGE', record_key(id), CHANGED[id], id)
  end
  return CHANGED[id]
end

local function set(id, ...)
  local fields, changed = { ... }, change(id)
  for at = 1, #fields, 2 do changed[fields[at]] = tostring(fields[at + 1]) end
end

local function unset(id, field) change(id)[field] = false end

-- Ends the step. `run` (finish.lua) sets a damaged record aside, and takes the step anew.
local function demand(value, id)
  if not value then error('the record of ' .. id .. ' is damaged', 0) end
  return value
end

-- Whether there is no record; half of one ends the step.
local function is_missing(id) return demand(redis.call('EXISTS', record_key(id)) == 0, id) end

-- Append one line to the audit outbox, in the same step as the change that it tells of.
-- `data` is a JSON object with what only this line has; `of` is {call_id, key, hop, attempt, labels}, where the
-- step knows them already; what follows is of a second line. No step trims: it can't know what is written already. The sweep does (recover.lua).
local function audit(id, event, data, of, ...)
  local r = of or get(id, 'call_id', 'key', 'hop', 'attempt', 'labels')
  write('XADD', audit_entry(id, event, data, r, ...))
  if not AUDIT_IS_KEPT then write('EXPIRE', AUDIT, LIFE_OF_OUTBOX) end
  AUDIT_IS_KEPT = true
end

-- The outcome as the JSON that handles read, built from the record.
local function outcome_json(id)
  local r = get(id, 'call_id', 'state', 'reason', 'attempt', 'hop', 'source', 'http_status', 'detail', 'ended_ms')
  demand(r[1] and ENDED[r[2]] and is_word(r[3]), id)
  return cjson.encode({
    transfer_id = id, call_id = r[1], state = r[2], reason = r[3], attempts = tonumber(r[4]) or 0,
    hop = tonumber(r[5]) or 1, source = r[6] or '', http_status = tonumber(r[7]) or cjson.null,
    detail = r[8] or '', ended_at_ms = tonumber(r[9]) or 0,
  })
end

local function count(field, by) COUNTS[#COUNTS + 1] = 't' .. int(by or 1) .. ' ' .. field end
local function count_in_both(field, by) COUNTS[#COUNTS + 1] = 'b' .. int(by or 1) .. ' ' .. field end

-- `counted` is where: one of the two above.
local function count_span(name, ms, counted)
  ms = math.max(ms, 0) -- Redis's clock may be set back
  counted(name .. '|' .. bucket_of(ms))
  count(name .. '_sum', ms)
end

-- What became of one request; each is counted once. With the first one, how long the transfer had waited for it.
local function count_attempt(id, class)
  local r = get(id, 'attempt', 'begun_ms', 'accepted_ms')
  local begun, accepted = tonumber(r[2]), tonumber(r[3])
  count_in_both('attempt|' .. class)
  if r[1] == '1' and begun and accepted then count_span('post_ms', begun - accepted, count_in_both) end
end

-- Put an attempt on record; return what differs in its audit line. `signer` is who asks, or ''.
local function begin_attempt(id, attempt, worker, signer)
  set(id, 'state', 'sending', 'attempt', attempt, 'begun_ms', int(NOW), 'signer', signer,
    'attempt:' .. attempt, cjson.encode({ begun_ms = NOW, worker = worker }))
  return 'transfer.attempt_started', attempt, cjson.encode({ worker = worker, signed_by = text_or_nil(signer) })
end

-- A request for something else under an id or a key that is in use. It gets no record and changes none; its line
-- has its own call id, because nobody would look for it under the other's.
local function audit_conflict(first, transfer_id, call_id, labels)
  count('stood_back|conflict')
  audit(first, 'transfer.refused', cjson.encode({ verdict = 'conflict', refused_transfer_id = transfer_id,
    first_call_id = get(first, 'call_id')[1] or '' }), { call_id, '', '', '0', labels })
end

-- Calls that may have been moved twice, until somebody acknowledges them.
--
--   double_posts   list: JSON {call_id, transfers, at_ms}, newest first, the last 100
--
-- `transfers` are the two whose requests may both have moved the call; one id twice, where they were of one transfer.
-- Heartbeats renew its TTL, so that none is forgotten while there is anybody who could send.
local DOUBLE_POSTS, MAX_DOUBLE_POSTS = NS .. 'double_posts', 100

-- Endings. A function of functions, because most steps end nothing, and making a function takes time in each.
local function endings()
  local INDEX = { waiting = OPEN_IDS, claimed = OPEN_IDS, sending = OPEN_IDS, unknown = UNKNOWN }
  local E = {}

  local function list_ending(id, state, reason, destination)
    local list = ended_key(state, NOW)
    write('RPUSH', list, ended_line(id, reason, destination))
    LIFE_OF_NEW[list] = LIFE_OF_ENDED
  end

  local function note_double_post(first, second)
    local entry = { call_id = get(second, 'call_id')[1], transfers = { first, second }, at_ms = NOW }
    write('LPUSH', DOUBLE_POSTS, cjson.encode(entry))
    write('LTRIM', DOUBLE_POSTS, 0, MAX_DOUBLE_POSTS - 1)
    keep(DOUBLE_POSTS)
    count('double_posts')
    audit(second, 'call.moved_twice', cjson.encode({ other_transfer_id = first }))
  end

  -- Whether a request of a transfer that has ended so may have moved its call. Where a 409 is all that is known of
  -- the last one, what is running is an earlier one.
  local function may_have_moved(state, reason)
    return state == 'submitted' or (state == 'unknown' and reason ~= 'in_progress_after_attempt')
  end

  -- A request of `first` has moved the call of this transfer, or may have. Two have, if one of this transfer has, too:
  -- that is known now, or with its ending, or with a truth that comes later still.
  function E.meet_request_of(first, id)
    local r = get(id, 'state', 'reason')
    if not r[1] then return end
    if may_have_moved(r[1], r[2]) then note_double_post(first, id)
    else set(id, 'moved_by', first) end
  end

  -- This transfer has moved its call, and somebody had asked for the next one meanwhile. Whoever asks after one that is
  -- `submitted` means to move the call once more.
  function E.meet_later_transfers(id)
    local of = get(id, 'call_id', 'hop')
    for _, later in ipairs(redis.call('LRANGE', NS .. 'call:' .. of[1], int(of[2]), -1)) do
      E.meet_request_of(id, later)
      if get(later, 'state')[1] == 'submitted' then return end
    end
  end

  -- Write an ending: record, indexes, audit line, wake-up; all or nothing.
  -- `event` is 'transfer.finished', or 'transfer.resolved' where an unknown gets its truth.
  function E.finish(id, event, ending)
    local r = get(id, 'accepted_ms', 'state', 'labels', 'attempt', 'call_id', 'key', 'hop', 'reply_to', 'moved_by',
      'signer', 'detail')
    local waited_ms = NOW - (tonumber(r[1]) or NOW)
    set(id, 'state', ending.state, 'reason', ending.reason, 'source', ending.source,
      'http_status', ending.http_status or '', 'ended_ms', int(NOW))
    if ending.detail and ending.detail ~= '' or r[11] then set(id, 'detail', ending.detail or '') end
    if r[2] == 'claimed' or r[2] == 'sending' then set(id, 'claim_id', '') end -- a claim that is repeated finds the ending
    if INDEX[r[2]] then write('ZREM', INDEX[r[2]], id) end
    if ending.state == 'unknown' then add_to(UNKNOWN, id, NOW) end
    -- The acceptance has just done it for one that ends soon: within a hundredth of its life.
    if waited_ms > RETENTION * 10 or event == 'transfer.resolved' then keep(record_key(id)) end
    local data = ending.data or {}
    data.state, data.reason, data.source = ending.state, ending.reason, ending.source
    data.http_status = tonumber(ending.http_status) or nil
    if ending.detail and ending.detail ~= '' then data.detail = ending.detail end
    data.waited_ms, data.signed_by = waited_ms, text_or_nil(r[10] or '')
    local destination = destination_of(r[3])
    list_ending(id, ending.state, ending.reason, destination)
    if event == 'transfer.resolved' then
      data.previous_state = r[2]
      count('resolved|' .. ending.state .. '|' .. ending.reason)
    else
      count_in_both('ended|' .. ending.state .. '|' .. ending.reason .. '|' .. destination)
      count_span('outcome_ms', waited_ms, count)
      count('posts|' .. (r[4] or '0'))
    end
    audit(id, event, cjson.encode(data), { r[5], r[6], r[7], r[4], r[3] })
    if r[9] and may_have_moved(ending.state, ending.reason) then
      unset(id, 'moved_by')
      note_double_post(r[9], id)
    end
    -- A wake-up only wakes: anybody could send one, and what is true is on record.
    for channel in string.gmatch(r[8] or '', '%S+') do WORDS[#WORDS + 1] = { 'PUBLISH', channel, id } end
    return outcome_json(id)
  end

  -- What a deadline makes of an open transfer: nothing was sent, or the last proven refusal stands.
  function E.finish_late(id, source)
    local r = get(id, 'attempt', 'last_reason', 'last_http_status', 'last_detail')
    if demand(tonumber(r[1]), id) == 0 then
      return E.finish(id, 'transfer.finished', { state = 'expired', reason = 'deadline_passed', source = source })
    end
    return E.finish(id, 'transfer.finished',
      { state = 'failed', reason = demand(r[2], id), http_status = r[3], detail = r[4], source = source })
  end

  -- End an open transfer whose call was moved by `first` meanwhile. Never one that is `sending`.
  function E.finish_moved(id, first)
    return E.finish(id, 'transfer.finished', { state = 'rejected', reason = 'transfer_in_progress', source = 'worker',
      detail = 'transfer ' .. first .. ' has moved the call: its answer came late' })
  end

  -- End an open transfer if its destination is paused; nil if it is not. Never one that is `sending`.
  -- `pauses` are those that there will be when this step has written, from destination to JSON.
  function E.finish_paused(id, pauses)
    local destination = destination_of(get(id, 'labels')[1])
    local found = redis.call('HMGET', PAUSED, destination, '*')
    local pause = found[1] or found[2] or pauses and (pauses[destination] or pauses['*'])
    if not pause then return nil end
    -- Somebody has paused it, whatever became of the words.
    local said = read_object(pause) or {}
    return E.finish(id, 'transfer.finished', { state = 'rejected', reason = 'destination_paused', source = 'operator',
      detail = 'paused by ' .. tostring(said.by or '?') .. ': ' .. tostring(said.reason or '?') })
  end

  return E
end

-- As `endings().finish_paused`; nearly always there is no pause at all.
local function finish_paused(id)
  return redis.call('EXISTS', PAUSED) == 1 and endings().finish_paused(id) or nil
end

-- What a worker has read in the intent stands over what the record says besides it. Where the two differ, somebody
-- has altered the record, and it ends: under the name that the intent has. Nil where they agree.
-- `known` is {call_id, labels, labelled} as on record; the last is what a claim has found in place of the name, if that
-- was another one.
local function finish_altered(id, known, call, destination, derived)
  if call == '' then return nil end
  local name, detail = known[3] or known[2] == derived and destination or name_in(known[2]), nil
  if name ~= destination then
    set(id, 'labels', derived)
    detail = 'the record was altered: it says the destination ' .. string.sub(tostring(name), 1, 64) ..
      ', its intent ' .. destination
  end
  if known[1] ~= call then detail = 'the record was altered: it says another call than its intent' end
  return detail and endings().finish(id, 'transfer.finished',
    { state = 'rejected', reason = 'invalid_intent', source = 'worker', detail = detail })
end
