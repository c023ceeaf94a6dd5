-- retire: a worker has stopped in good order and holds nothing.
--
-- ARGV[3] worker
--
-- Reply: 1

redis.call('DEL', NS .. 'worker:' .. ARGV[3])
redis.call('ZREM', NS .. 'workers', ARGV[3])
return 1
