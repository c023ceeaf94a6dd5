-- read_counts: everything that was counted, as it is at one moment. Changes nothing.
--
-- Arguments:
--   newest  the number of the newest slice of time that is wanted
--   slices  how many are, going back from it
--
-- Reply: {notes, totals, newest slice, the one before it, …}  what each key holds; 0 where that is of another type

local newest, slices = unpack(ARGV, 3)

local function unless_of_another_type(reply)
  if not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then return 0 end
  error(reply.err, 0)
end

local found = {
  unless_of_another_type(redis.pcall('LRANGE', UNCOUNTED, 0, -1)),
  unless_of_another_type(redis.pcall('HGETALL', STATISTICS)),
}
for number = tonumber(newest), tonumber(newest) - tonumber(slices) + 1, -1 do
  found[#found + 1] = unless_of_another_type(redis.pcall('HGETALL', STATISTICS .. ':' .. int(number)))
end
return found
