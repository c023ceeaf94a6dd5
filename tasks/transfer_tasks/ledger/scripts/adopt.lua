-- adopt: put a message of ours that lies among the unacknowledged ones of kombu's default names back into the queue.
-- Safe to repeat. Where a worker of an older version still carries it out, the ledger sees to it that it is done once.
--
-- Arguments:
--   transfer_id  its task id
--   tag          its delivery tag
--   entry        as it stands there, so that none is taken that has changed since
--   message
--   queue
--   operator
--   reason       or ''
--
-- Reply: 1, or 0 where it was gone already

local transfer_id, tag, entry, message, queue, operator, reason = unpack(ARGV, 3)
if redis.call('HGET', 'unacked', tag) ~= entry then return 0 end
write('HDEL', 'unacked', tag)
write('ZREM', 'unacked_index', tag)
write('RPUSH', queue, message)
audit(transfer_id, 'quarantine.adopted', cjson.encode({ operator = operator, detail = text_or_nil(reason) }))
return 1
