
-- Damaged records: half of one, junk, something that is no record at all.
--
-- A function of functions, as `endings`: nearly no step needs them.
local function damage()
  local NUMBERS = { 'hop', 'attempt', 'token', 'accepted_ms', 'expires_ms' }

  local function is_number(text) return text and #text <= 15 and string.match(text, '^%d+$') end

  local function is_whole(id)
    local kind = redis.call('TYPE', record_key(id)).ok
    if kind ~= 'hash' then return kind == 'none' end
    for _, number in ipairs(redis.call('HMGET', record_key(id), unpack(NUMBERS))) do
      if not is_number(number) then return false end
    end
    local r = redis.call('HMGET', record_key(id), 'state', 'call_id', 'key', 'labels', 'reason', 'intent', 'begun_ms',
      'ended_ms')
    if not (r[2] and r[3] and r[4]) then return false end
    if r[1] == 'sending' and not is_number(r[7]) then return false end
    return (OPEN[r[1]] and r[6] or ENDED[r[1]] and is_word(r[5]) and is_number(r[8])) and true or false
  end

  -- Nobody knows what became of it: it ends as `unknown`, and nothing is sent for it again. What is there is kept
  -- for an engineer, under a key of its own; what can be read of it goes on the new record. So the answer of an
  -- attempt that is under way is still taken.
  local function set_aside(id)
    local key, kept_as = record_key(id), NS .. 'damaged:' .. id
    local texts, found = { 'call_id', 'key', 'reply_to', 'destination_digest', 'content_digest' }, {}
    if redis.call('TYPE', key).ok == 'hash' then
      for _, field in ipairs(texts) do found[field] = redis.call('HGET', key, field) or nil end
      for _, field in ipairs(NUMBERS) do
        local number = redis.call('HGET', key, field)
        found[field] = is_number(number) and number or nil
      end
      local labels = redis.call('HGET', key, 'labels')
      found.labels = read_object(labels) and labels or nil
    end
    write('RENAME', key, kept_as)
    keep(kept_as)
    CHANGED[id], REPLACED[id], HAS_ITS_TYPE[key] = nil, true, true
    for _, field in ipairs(texts) do set(id, field, found[field] or '') end
    local instead = { hop = '1', attempt = '0', token = '0', accepted_ms = int(NOW), expires_ms = int(NOW) }
    for field, number in pairs(instead) do set(id, field, found[field] or number) end
    set(id, 'labels', found.labels or '{}')
    keep(key)
    write('ZREM', OPEN_IDS, id)
    audit(id, 'record.set_aside', cjson.encode({ kept_as = kept_as }))
    count_in_both('records_set_aside')
    endings().finish(id, 'transfer.finished', { state = 'unknown', reason = 'record_damaged', source = 'recovery',
      detail = 'what was there is kept in ' .. kept_as })
  end

  -- Look at one record of many: a damaged one is set aside, and the others get their turn.
  local function look_at(id, look)
    local writes, words, counts = #WRITES, #WORDS, #COUNTS
    local ok, problem = pcall(look, id)
    if ok then return end
    if is_whole(id) then error(problem, 0) end
    AUDIT_IS_KEPT = false
    for list, length in pairs({ [WRITES] = writes, [WORDS] = words, [COUNTS] = counts }) do
      for at = #list, length + 1, -1 do
        if list[at][1] == 'CHANGE' then CHANGED[list[at][4]] = nil end
        list[at] = nil
      end
    end
    set_aside(id)
  end

  return is_whole, set_aside, look_at
end
