-- erase: take away what people have said in the transfers of one call. Safe to repeat.
--
-- What suppresses repeats stays: ids, keys, digests, states, times, and what is proven of each attempt. So does the time
-- that the records have left. What is to go from streams and lists was looked for before: here, it is looked at again.
--
-- Arguments:
--   call_id        or '' where it could never be read
--   transfer_ids   JSON list: all its transfers
--   lines          JSON list: its entries in the outbox
--   audit_group    who writes them: only what is written goes
--   dead_letters   JSON list: entries of the quarantine
--   messages       JSON list of {list, element}: messages that are left of its transfers
--   tags           JSON list: delivery tags of such messages that a worker has fetched
--   operator
--   reason
--
-- Reply: {'erased', transfers, lines, dead letters, messages}
--      | {'refused', transfer_id, state}   it is open, or unknown
--      | {'unwritten', lines}              audit lines that nobody has written yet
--      | {'changed'}                       there are others by now; look again
--      | {'missing'}

local call_id, transfer_ids, lines, audit_group, dead_letters, messages, tags, operator, reason = unpack(ARGV, 3)
transfer_ids, lines, dead_letters = cjson.decode(transfer_ids), cjson.decode(lines), cjson.decode(dead_letters)
messages, tags = cjson.decode(messages), cjson.decode(tags)

-- Ids alone, for whoever has copies and was away: Flower and its file.
local NOTES, NOTES_SECONDS = NS .. 'erased', 400 * 24 * 3600

local KEPT = {}
for name in string.gmatch([[state call_id key hop attempt token destination_digest content_digest accepted_ms expires_ms
  claimed_ms begun_ms ended_ms requeued_ms reason source http_status worker claim_id signer counted brought moved_by
  last_reason last_http_status request_id reported connection rings_until_ms compacted]], '%S+') do KEPT[name] = true end

local function is_kept(field) return KEPT[field] or string.match(field, '^late:%d+$') end

local function refuse_changed()
  local is_known = {}
  for _, id in ipairs(transfer_ids) do is_known[id] = true end
  for _, id in ipairs(call_id ~= '' and redis.call('LRANGE', NS .. 'call:' .. call_id, 0, -1) or {}) do
    if not is_known[id] and redis.call('EXISTS', record_key(id)) == 1 then return { 'changed' } end
  end
end

local function refuse_unsettled(ids)
  for _, id in ipairs(ids) do
    local state = get(id, 'state')[1]
    demand(OPEN[state] or ENDED[state], id)
    if OPEN[state] or state == 'unknown' then return { 'refused', id, state } end
  end
end

local function refuse_unwritten()
  local unwritten, read_until = 0, '0-0'
  local groups = redis.pcall('XINFO', 'GROUPS', AUDIT)
  for _, group in ipairs(groups.err and {} or groups) do
    local said = {}
    for at = 1, #group, 2 do said[group[at]] = group[at + 1] end
    if said.name == audit_group then read_until = said['last-delivered-id'] end
  end
  for _, line in ipairs(lines) do
    local is_unread = #redis.call('XRANGE', AUDIT, '(' .. read_until, line, 'COUNT', 1) > 0
    local is_held = not is_unread and read_until ~= '0-0' and #redis.call('XPENDING', AUDIT, audit_group, line, line, 1) > 0
    if is_unread or is_held then unwritten = unwritten + 1 end
  end
  return unwritten > 0 and { 'unwritten', unwritten }
end

-- What is proven of an attempt stays, and not in whose words.
local function strip_note(text)
  local said = read_object(text)
  if not said then return '{}' end
  said.answer, said.detail = nil, nil
  return cjson.encode(said)
end

local function erase_record(id)
  local labels = get(id, 'labels')[1]
  for _, field in ipairs(redis.call('HKEYS', record_key(id))) do
    if string.match(field, '^attempt:%d+$') then
      set(id, field, strip_note(get(id, field)[1]))
    elseif field ~= 'labels' and not is_kept(field) then
      unset(id, field)
    end
  end
  set(id, 'labels', cjson.encode({ destination = name_in(labels) }), 'erased_ms', int(NOW))
  write('DEL', NS .. 'damaged:' .. id)
end

local ids = {}
for _, id in ipairs(transfer_ids) do
  if get(id, 'state')[1] or not is_missing(id) then table.insert(ids, id) end
end
if #ids == 0 then return { 'missing' } end
local refusal = refuse_changed() or refuse_unsettled(ids) or refuse_unwritten()
if refusal then return refusal end

for _, id in ipairs(ids) do erase_record(id) end
for _, line in ipairs(lines) do write('XDEL', AUDIT, line) end
for _, entry in ipairs(dead_letters) do write('LREM', NS .. 'quarantine', 1, entry) end
for _, message in ipairs(messages) do write('LREM', message[1], 1, message[2]) end
for _, tag in ipairs(tags) do
  write('HDEL', NS .. 'unacked', tag)
  write('ZREM', NS .. 'unacked_index', tag)
end
write('ZREMRANGEBYSCORE', NOTES, '-inf', int(NOW - NOTES_SECONDS * 1000))
for _, id in ipairs(ids) do write('ZADD', NOTES, int(NOW), id) end
write('EXPIRE', NOTES, NOTES_SECONDS)
audit(ids[#ids], 'call.erased', cjson.encode({ operator = operator, detail = reason, transfers = #ids,
  lines = #lines, dead_letters = #dead_letters, messages = #messages + #tags }))
return { 'erased', #ids, #lines, #dead_letters, #messages + #tags }
