-- set_limits: what a worker's registry says of limits on rate; from now on it binds everybody. Safe to repeat.
-- Whatever stands there is replaced: the worker that has started last is right.
--
-- Arguments:
--   limits  JSON, an object: which limit -> '<number>/<seconds>' or 'off'
--   worker
--
-- Reply: 1, or 0 where they were the same already

local limits, worker = unpack(ARGV, 3)
local fields, told, wanted = {}, {}, cjson.decode(limits)
for name in pairs(wanted) do told[#told + 1] = name end
table.sort(told)
for at, name in ipairs(told) do
  fields[#fields + 1], fields[#fields + 2] = name, wanted[name]
  told[at] = name .. ' ' .. wanted[name]
end

local function are_the_same()
  if redis.call('TYPE', LIMITS).ok ~= 'hash' then return false end
  local held = redis.call('HGETALL', LIMITS)
  for at = 1, #held, 2 do
    if wanted[held[at]] ~= held[at + 1] then return false end
  end
  return #held == #fields
end

if are_the_same() then
  keep(LIMITS)
  return 0
end
write('DEL', LIMITS)
HAS_ITS_TYPE[LIMITS] = true
write('HSET', LIMITS, unpack(fields))
keep(LIMITS)
audit('', 'limits.set', cjson.encode({ worker = worker, detail = table.concat(told, ', ') }))
return 1
