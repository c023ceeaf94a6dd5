
-- Behind every step: run it, then write what it has collected. See prelude.lua.

local TYPES = { HSET = 'hash', HDEL = 'hash', ZADD = 'zset', ZREM = 'zset', RPUSH = 'list', LPUSH = 'list',
  LTRIM = 'list', LREM = 'list', RPOP = 'list', XADD = 'stream', XACK = 'stream', XDEL = 'stream' }

-- A step begins with empty lists; so only a second one in the same script, and what comes behind a `commit`, needs this.
forget = function()
  WRITES, WORDS, COUNTS, LIFE_OF_NEW = {}, {}, {}, {}
  HAS_ITS_TYPE, READ, CHANGED, REPLACED, KNOWN = {}, {}, {}, {}, {}
  AUDIT_IS_KEPT, IS_TIME_TO_COUNT, REQUESTER = false, false, nil
end

-- In the place of each change: one HSET of all fields, one HDEL of those that go.
local function spell_out_changes()
  for at, of in ipairs(WRITES) do
    if of[1] == 'CHANGE' then
      local hset, hdel, n = { 'HSET', of[2] }, nil, 2
      for field, value in pairs(of[3]) do
        if value then
          hset[n + 1], hset[n + 2] = field, value
          n = n + 2
        else
          hdel = hdel or { 'HDEL', of[2] }
          hdel[#hdel + 1] = field
        end
      end
      WRITES[at] = n > 2 and hset or hdel
      if n > 2 and hdel then WRITES[#WRITES + 1] = hdel end
    end
  end
end

local function refuse_type(key, kind, wanted)
  error('WRONGTYPE: ' .. key .. ' is a ' .. kind .. ', no ' .. wanted .. '; nothing was written', 0)
end

-- Whatever would stop the writes midway stops them here, before the first. The first one itself can say that its key is
-- of another type: then nothing is written either.
local function check_writes()
  spell_out_changes()
  local is_permitted, seen = redis.acl_check_cmd, {} -- Redis 7
  local first = WRITES[1]
  if first and TYPES[first[1]] and not LIFE_OF_NEW[first[2]] then HAS_ITS_TYPE[first[2]] = true end
  for _, of in ipairs(WRITES) do
    local command, key = of[1], of[2]
    -- Each command and each key once: who may do the one and touch the other may do both, selectors excepted.
    local is_new = is_permitted and not (seen[command] and seen[key])
    seen[command], seen[key] = true, true
    if is_new and not is_permitted(unpack(of, 1, math.min(#of, 3))) then
      error('ACL failure in script: no permission to run ' .. command .. ' on ' .. key .. '; nothing was written', 0)
    end
    if TYPES[command] and not HAS_ITS_TYPE[key] then
      local kind = redis.call('TYPE', key).ok
      if kind ~= TYPES[command] then
        if kind ~= 'none' then refuse_type(key, kind, TYPES[command]) end
        if LIFE_OF_NEW[key] then write('EXPIRE', key, LIFE_OF_NEW[key]) end
      end
      HAS_ITS_TYPE[key] = true
    end
  end
end

local function write_first(of)
  local command, key = of[1], of[2]
  local reply = redis.pcall(unpack(of))
  if type(reply) ~= 'table' or not reply.err then return end
  local kind = TYPES[command] and redis.call('TYPE', key).ok
  if kind and kind ~= 'none' and kind ~= TYPES[command] then refuse_type(key, kind, TYPES[command]) end
  redis.call(unpack(of)) -- the same error, as Redis raises it
end

commit = function()
  check_writes()
  for at, of in ipairs(WRITES) do
    if at == 1 then write_first(of) else redis.call(unpack(of)) end
  end
  for _, of in ipairs(WORDS) do redis.pcall(unpack(of)) end
  if REQUESTER then add_to_counter(STATISTICS .. ':' .. slice_of_time(), 'asked|' .. REQUESTER, 1, SLICE_TTL) end
  if #COUNTS > 0 then leave_note(COUNTS) end
  if IS_TIME_TO_COUNT or ARE_MANY_UNCOUNTED then count_now() end
end

-- The usual case of the step has written everything, but for what its counters need now and then.
if DONE then
  if NEW_COUNTER then keep_counter(unpack(NEW_COUNTER)) end
  if ARE_MANY_UNCOUNTED then count_now() end
  return DONE
end

-- A damaged record is set aside, and the step taken anew: it finds a record that says `unknown`.
for _ = 1, 3 do
  local ok, reply = pcall(step)
  if ok then
    commit()
    return reply
  end
  local read, damaged, is_whole, set_aside = READ, {}, damage()
  forget()
  for id in pairs(read) do
    if not is_whole(id) then table.insert(damaged, id) end
  end
  if #damaged == 0 then error(reply, 0) end
  for _, id in ipairs(damaged) do set_aside(id) end
  commit()
  forget()
end
return redis.error_reply('ERR too many damaged records; take the step again')
