"""Copies of an ended transfer: every key that it leaves, and its entry in keys that others share.

What it leaves is found by its ids, in names and in contents, as text, as hex and as bytes: the ledger may
keep it as it likes. COPY keeps a key's type, its inner encoding and its TTL, so that copies weigh the same.
"""

import uuid
from collections import Counter
from itertools import chain
from typing import NamedTuple

import redis

from benchmarks.stage.leftovers import kind_of, names_of

LASTING_SECONDS = 3600
"""What goes sooner has gone by the time that so many have ended, and is not copied."""

_AT_ONCE = 1000

# KEYS: the keys that name the transfer.
# ARGV: how many of them are its own; the first and the last copy's number; how many ids it has, and for each
# the id and what the copies' ids begin with (24 characters; the number in hex follows). Then for each key:
# its type, how many of its elements name the transfer, and for each its place (field, index, score) and text.
_COPY = """
local own, first, last, ids, next_at = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {}, 5

local function take()
  next_at = next_at + 1
  return ARGV[next_at - 1]
end

local function forms_of(id)
  local hex = string.gsub(id, '-', '')
  local raw = string.gsub(hex, '..', function(of) return string.char(tonumber(of, 16)) end)
  return { id, hex, raw }
end

for at = 1, tonumber(ARGV[4]) do ids[at] = { old = forms_of(take()), prefix = take() } end
local plans = {}
for at, key in ipairs(KEYS) do
  plans[at] = { key = key, kind = take(), found = {} }
  for element = 1, tonumber(take()) do plans[at].found[element] = { take(), take() } end
end

local function swap(text, old, new)
  local at, parts = 1, {}
  while true do
    local from, to = string.find(text, old, at, true)
    if not from then break end
    parts[#parts + 1] = string.sub(text, at, from - 1)
    parts[#parts + 1] = new
    at = to + 1
  end
  parts[#parts + 1] = string.sub(text, at)
  return table.concat(parts)
end

local news
local function renew(text)
  for at, of in ipairs(ids) do
    for form, old in ipairs(of.old) do text = swap(text, old, news[at][form]) end
  end
  return text
end

local function put(kind, key, place, text, is_own)
  if kind == 'string' then redis.call('SET', key, renew(text), 'KEEPTTL')
  elseif kind == 'list' and is_own then redis.call('LSET', key, place, renew(text))
  elseif kind == 'list' then redis.call('RPUSH', key, renew(text))
  elseif kind == 'set' then redis.call('SADD', key, renew(text))
  elseif kind == 'zset' then redis.call('ZADD', key, place, renew(text))
  else redis.call('HSET', key, renew(place), renew(text)) end
end

local function forget(kind, key, place, text)
  if kind == 'set' then redis.call('SREM', key, text)
  elseif kind == 'zset' then redis.call('ZREM', key, text)
  elseif kind == 'hash' and renew(place) ~= place then redis.call('HDEL', key, place) end
end

for number = first, last do
  news = {}
  for at, of in ipairs(ids) do news[at] = forms_of(of.prefix .. string.format('%012x', number)) end
  for at, of in ipairs(plans) do
    local is_own, key = at <= own, of.key
    if is_own then
      key = renew(of.key)
      redis.call('COPY', of.key, key)
    end
    for _, each in ipairs(of.found) do
      put(of.kind, key, each[1], each[2], is_own)
      if is_own then forget(of.kind, key, each[1], each[2]) end -- last: an empty key would go, and its TTL
    end
  end
end
"""


class Named(NamedTuple):
    """A key that names a transfer, and which of its elements do: (field, index or score; text)."""

    name: bytes
    kind: str
    elements: tuple[tuple[bytes | int | float, bytes], ...]


class Original(NamedTuple):
    """What one transfer has left.

    Attributes:
        ids: Its own id and its call's.
        own: Keys whose names have one of them.
        shared: Keys that name it in an element, and others as well.
        left_out: Kinds of keys that are not copied, each with why.
        size_bytes: What its own keys hold.
    """

    ids: tuple[str, ...]
    own: tuple[Named, ...]
    shared: tuple[Named, ...]
    left_out: dict[str, str]
    size_bytes: int


def find_original(client: redis.Redis, ids: tuple[str, ...], *, before: set[bytes], alike: int) -> Original:
    """Find what the transfer with these ids has left.

    Args:
        ids: Its own id and its call's.
        before: The keys that there were before it and those like it.
        alike: How many transfers there were since, this one included. A kind of key that comes with each of
            them, and never has one of the ids in its name, can't be copied.

    Raises:
        RuntimeError: There is such a kind.
    """
    forms = [form for each in ids for form in _forms_of(each)]
    own, shared, left_out, fresh, named = [], [], {}, Counter(), set()
    for name in names_of(client):
        kind, is_own = kind_of(name), any(form in name for form in forms)
        fresh[kind] += name not in before
        if is_own:
            named.add(kind)
        type_, elements = _read_elements(client, name, forms)
        if not is_own and not elements:
            continue
        if type_ == "stream":
            left_out[kind] = "has a limit of its own"
        elif 0 <= (ttl := client.ttl(name)) < LASTING_SECONDS:
            left_out[kind] = f"is gone after {ttl} s"
        else:
            (own if is_own else shared).append(Named(name, type_, elements))
    for kind, count in fresh.items():
        if count >= alike > 1 and kind not in named:
            raise RuntimeError(
                f"{kind} comes with each transfer, and names none of its ids: it can't be copied"
            )
    size = sum(client.memory_usage(of.name, samples=0) or 0 for of in own)
    return Original(ids, tuple(own), tuple(shared), left_out, size)


def _read_elements(
    client: redis.Redis, name: bytes, forms: list[bytes]
) -> tuple[str, tuple[tuple[bytes | int | float, bytes], ...]]:
    """Return a key's type, and those of its elements that have one of the forms in them."""
    type_ = client.type(name).decode()
    match type_:
        case "string":
            pairs = [(0, client.get(name) or b"")]
        case "list":
            pairs = list(enumerate(client.lrange(name, 0, -1)))
        case "set":
            pairs = [(0, text) for text in client.smembers(name)]
        case "hash":
            pairs = list(client.hgetall(name).items())
        case "zset":
            pairs = [(score, text) for text, score in client.zrange(name, 0, -1, withscores=True)]
        case "stream":
            pairs = [(0, text) for _, fields in client.xrange(name) for text in fields.values()]
        case _:
            pairs = []
    return type_, tuple(
        (place, text)
        for place, text in pairs
        if any(form in text or (isinstance(place, bytes) and form in place) for form in forms)
    )


def make_copies(client: redis.Redis, original: Original, count: int) -> None:
    """Make so many copies, each with ids of its own."""
    script = client.register_script(_COPY)
    ids = [word for each in original.ids for word in (each, str(uuid.uuid4())[:24])]
    keys, plan = [*original.own, *original.shared], []
    for of in keys:
        plan += [of.kind, len(of.elements), *chain.from_iterable(of.elements)]
    for first in range(1, count + 1, _AT_ONCE):
        last = min(count, first + _AT_ONCE - 1)
        numbers = [len(original.own), first, last, len(original.ids)]
        script(keys=[of.name for of in keys], args=[*numbers, *ids, *plan])


def _forms_of(text: str) -> tuple[bytes, ...]:
    """Return an id as text, as hex and as bytes."""
    of = uuid.UUID(text)
    return text.encode(), of.hex.encode(), of.bytes
