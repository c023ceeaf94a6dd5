
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

-- Counters stop nothing, and nothing stops for them: a note is lost where it can't be left.
local SLICE_TTL = 2 * 3600
local MAX_UNCOUNTED = 300 -- without a heartbeat, a step adds up so many notes itself

-- Anybody may send any name: when a hash is full, new ones are counted as `other`.
local function add_to_counter(key, field, by, life)
  if redis.pcall('HINCRBY', key, field, int(by)) ~= by then return end
  local family = string.match(field, '^(%a+)|')
  local size = (family == 'asked' or family == 'ended' or family == 'connection') and redis.pcall('HLEN', key)
  if type(size) == 'number' and size > 2000 then
    redis.pcall('HDEL', key, field)
    redis.pcall('HINCRBY', key, string.match(field, '^.*|') .. 'other', int(by))
  end
  redis.pcall('EXPIRE', key, life)
end

-- Add all notes to the hashes. They go first: what is not counted is better than what is counted twice.
local function count_now()
  local notes = redis.pcall('LRANGE', UNCOUNTED, 0, -1)
  if notes.err or #notes == 0 or redis.pcall('LTRIM', UNCOUNTED, #notes, -1).err then return end

  -- In the order in which they were noted: whoever reads finds the same hash full at the same name.
  local sums, order = {}, {} -- key -> field -> by
  local function add(key, field, by)
    sums[key] = sums[key] or {}
    if not sums[key][field] then order[#order + 1] = { key, field } end
    sums[key][field] = (sums[key][field] or 0) + by
  end
  for _, note in ipairs(notes) do
    local slice, lines = string.match(note, '^(%d+)(\n.*)$')
    if slice and #slice <= 12 then
      for where, by, field in string.gmatch(lines, '\n([tb])(%-?%d+) ([^\n]+)') do
        if #by <= 15 then
          add(STATISTICS, field, tonumber(by))
          if where == 'b' then add(STATISTICS .. ':' .. slice, field, tonumber(by)) end
        end
      end
    end
  end
  for _, of in ipairs(order) do
    local key, field = unpack(of)
    add_to_counter(key, field, sums[key][field], key == STATISTICS and RETENTION or SLICE_TTL)
  end
end

local function note_counts()
  local slice, notes = int(math.floor(NOW / 10000)), 0
  if REQUESTER then add_to_counter(STATISTICS .. ':' .. slice, 'asked|' .. REQUESTER, 1, SLICE_TTL) end
  if #COUNTS > 0 then
    notes = redis.pcall('RPUSH', UNCOUNTED, slice .. '\n' .. table.concat(COUNTS, '\n'))
    if notes == 1 then redis.pcall('EXPIRE', UNCOUNTED, RETENTION) end
  end
  if IS_TIME_TO_COUNT or type(notes) == 'number' and notes >= MAX_UNCOUNTED then count_now() end
end

commit = function()
  check_writes()
  for at, of in ipairs(WRITES) do
    if at == 1 then write_first(of) else redis.call(unpack(of)) end
  end
  for _, of in ipairs(WORDS) do redis.pcall(unpack(of)) end
  note_counts()
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
