-- retire: a worker has stopped gracefully. The next sweep sees to what it had fetched and not begun.
--
-- Arguments:
--   worker
--
-- Reply: 1

local worker = unpack(ARGV, 3)
write('DEL', NS .. 'worker:' .. worker)
write('ZADD', NS .. 'workers', 'XX', 0, worker)
return 1
