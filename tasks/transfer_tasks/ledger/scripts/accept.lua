-- accept: look for a transfer that stands in the way, write the record, push the message.
-- Safe to repeat: the publisher makes the id.
--
-- ARGV[3]  transfer_id
-- ARGV[4]  call_id             canonical
-- ARGV[5]  idempotency_key     the caller's own, or ''
-- ARGV[6]  destination_digest  equal digests for one call are the same request
-- ARGV[7]  content_digest      equal keys must have equal content; '' without a key of the caller's own
-- ARGV[8]  intent              JSON
-- ARGV[9]  labels              JSON, masked: what logs may say of the destination
-- ARGV[10] message             the Celery message; kept until the ending, for recovery
-- ARGV[11] queue               where to push it, or '' where a message is on its way already
-- ARGV[12] remaining_ms        until the deadline
-- ARGV[13] repeat_window_ms    how long after `submitted` the same request is a repeat
-- ARGV[14] reply_to            channel that hears the outcome, or ''
-- ARGV[15] asked               JSON for the audit line: who asks, and why
-- ARGV[16] after               for a replay: the call's last transfer, which must still be the last, and proven
--                              not to have moved the call; else ''
-- ARGV[17] latest_ms           the deadline by the publisher's clock, or '': a request that the network or a frozen
--                              Redis held back gets no fresh deadline, give or take a minute of clock difference
--
-- Reply: {verdict, transfer_id, key, hop, state} with verdict one of
--   accepted     a new transfer; its state is `rejected` where its destination is paused
--   existing     this very id was accepted before
--   repeat       another id asked for the same: that one is returned
--   in_progress  another destination is open for this call
--   conflict     the key belongs to other content
--   overtaken    `after` is not the last any more, or may have moved the call; the last is returned

local CLOCK_DIFFERENCE_MS = 60000

local id, call_id, own_key = ARGV[3], ARGV[4], ARGV[5]
local reply_to = ARGV[14]
local call_key = NS .. 'call:' .. call_id

local function answer(verdict, which)
  local r = get(which, 'key', 'hop', 'state')
  return { verdict, which, r[1], r[2], r[3] }
end

local function listen(which)
  if reply_to == '' then return end
  local channels = get(which, 'reply_to')[1] or ''
  if string.find(' ' .. channels .. ' ', ' ' .. reply_to .. ' ', 1, true) then return end
  redis.call('HSET', record_key(which), 'reply_to', channels == '' and reply_to or channels .. ' ' .. reply_to)
end

local function stand_back(verdict, event, which)
  if verdict == 'repeat' then listen(which) end
  count('stood_back|' .. verdict)
  audit(which, event, cjson.encode({ verdict = verdict, refused_transfer_id = id }))
  return answer(verdict, which)
end

if redis.call('EXISTS', record_key(id)) == 1 then
  listen(id)
  return answer('existing', id)
end

if own_key ~= '' then
  -- The transfer that has this key: by the index of callers' own keys, or because ours name the call and the hop.
  local function find_by_key(key)
    local first = redis.call('GET', NS .. 'key:' .. key)
    if first then return first end
    local of, hop = string.match(key, '^([^:]+):(%d+)')
    if not of or #hop > 9 then return nil end
    local named = redis.call('LINDEX', NS .. 'call:' .. of, int(hop - 1))
    return named and get(named, 'key')[1] == key and named
  end

  -- What was asked for without a key of the caller's own has no digest of its content: its place has to do.
  local function has_content_of(first)
    local r = get(first, 'content_digest', 'call_id', 'destination_digest')
    if r[1] ~= '' then return r[1] == ARGV[7] end
    return r[2] == call_id and r[3] == ARGV[6]
  end

  local first = find_by_key(own_key)
  if first and redis.call('EXISTS', record_key(first)) == 1 then
    if has_content_of(first) then return stand_back('repeat', 'transfer.repeated', first) end
    return stand_back('conflict', 'transfer.refused', first)
  end
end

local MOVED_NOTHING = { rejected = true, failed = true, expired = true, cancelled = true }
local last = redis.call('LINDEX', call_key, -1)
if ARGV[16] ~= '' and (last ~= ARGV[16] or not MOVED_NOTHING[get(last, 'state')[1]]) then
  return stand_back('overtaken', 'transfer.refused', last or ARGV[16])
end
if last then
  local r = get(last, 'state', 'destination_digest', 'ended_ms')
  local state, is_same = r[1], r[2] == ARGV[6]
  if OPEN[state] or state == 'unknown' then
    if is_same then return stand_back('repeat', 'transfer.repeated', last) end
    return stand_back('in_progress', 'transfer.refused', last)
  end
  if state == 'submitted' and is_same and NOW - tonumber(r[3]) < tonumber(ARGV[13]) then
    return stand_back('repeat', 'transfer.repeated', last)
  end
end

local expires = NOW + tonumber(ARGV[12])
if ARGV[17] ~= '' then expires = math.min(expires, tonumber(ARGV[17]) + CLOCK_DIFFERENCE_MS) end

local hop = int(redis.call('RPUSH', call_key, id))
keep(call_key)
local key = own_key
if key ~= '' then
  redis.call('SET', NS .. 'key:' .. key, id, 'EX', RETENTION)
else
  key = call_id .. ':' .. hop
  -- A caller's own key may look like one of ours: the platform must not see one key for two transfers.
  if redis.call('EXISTS', NS .. 'key:' .. key) == 1 then key = key .. ':' .. id end
end
redis.call('HSET', record_key(id),
  'state', 'waiting', 'call_id', call_id, 'key', key, 'hop', hop, 'attempt', '0', 'token', '0',
  'destination_digest', ARGV[6], 'content_digest', ARGV[7], 'intent', ARGV[8], 'labels', ARGV[9],
  'message', ARGV[10], 'reply_to', reply_to, 'accepted_ms', int(NOW), 'expires_ms', int(expires))
keep(record_key(id))
add_to(WAITING, id, NOW)
audit(id, 'transfer.accepted', ARGV[15], { call_id, key, hop, '0', ARGV[9] })
count('accepted')
if finish_paused(id) then return { 'accepted', id, key, hop, 'rejected' } end
if ARGV[11] ~= '' then redis.call('LPUSH', ARGV[11], ARGV[10]) end
return { 'accepted', id, key, hop, 'waiting' }
