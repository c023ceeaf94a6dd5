
-- Counters: here the notes that steps leave are added to the hashes (start.lua says what is noted, and where it goes).

-- Anybody may send any name: when a hash is full, new ones are counted as `other`.
local function keep_counter(key, field, by, life)
  local family = string.match(field, '^(%a+)|')
  local size = (family == 'asked' or family == 'ended' or family == 'connection') and redis.pcall('HLEN', key)
  if type(size) == 'number' and size > 2000 then
    redis.pcall('HDEL', key, field)
    redis.pcall('HINCRBY', key, string.match(field, '^.*|') .. 'other', int(by))
  end
  redis.pcall('EXPIRE', key, life)
end

local function add_to_counter(key, field, by, life)
  if redis.pcall('HINCRBY', key, field, int(by)) == by then keep_counter(key, field, by, life) end
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
