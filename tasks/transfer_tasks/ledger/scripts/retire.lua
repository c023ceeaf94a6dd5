-- retire: a worker has stopped in good order. The next sweep sees to what it had fetched and not begun.
--
-- ARGV[3] worker
--
-- Reply: 1

redis.call('DEL', NS .. 'worker:' .. ARGV[3])
redis.call('ZADD', NS .. 'workers', 'XX', 0, ARGV[3])
return 1
