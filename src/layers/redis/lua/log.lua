-- What can be asked of a log and done to it, however long it is and whatever its clock does.

local KEPT_UNTIL_OFFSET = '56'

local function readLog(key)
  local state = call('GETRANGE', key, '0', LAST_OF_FIRST)
  return state ~= '' and state
end

local function logOfOne(policy, amount)
  return policy.id .. pack(HEADER, 0, 0, 0, now + forgetsAfter(policy)) .. pack(ENTRY, now, amount)
end

-- These are made when the first log is met.
local function makeLog()
  local Log = {}
  Log.__index = Log

  local function entryOf(log, index)
    local from = HEADER_BYTES + index * ENTRY_BYTES
    if from + ENTRY_BYTES <= #log.state then return unpack(ENTRY, log.state, from + 1) end
    return unpack(ENTRY, call('GETRANGE', log.key, from, from + ENTRY_BYTES - 1))
  end

  local function sumBefore(log, index)
    if index == log.first then return log.base end
    local _, sum = entryOf(log, index - 1)
    return sum
  end

  -- The first entry of `time` or later; the number of entries if there is none.
  local function firstSince(log, time)
    local low, high, stored = log.first, log.count, time - log.shift
    if low < high and entryOf(log, low) >= stored then return low end
    while low < high do
      local middle = floor((low + high) / 2)
      if entryOf(log, middle) >= stored then high = middle else low = middle + 1 end
    end
    return low
  end

  -- Writes the header, and `added` in place of all entries from `kept` on.
  local function save(log, policy, kept, added)
    local key, first = log.key, log.first
    local from, to = HEADER_BYTES + first * ENTRY_BYTES, HEADER_BYTES + kept * ENTRY_BYTES
    local keptUntil = now + forgetsAfter(policy)
    if log.isShort or first * 2 > log.count then
      local body = log.isShort and sub(log.state, from + 1, to) or to > from and call('GETRANGE', key, from, to - 1) or ''
      write(key, policy, policy.id .. pack(HEADER, log.shift, 0, log.base, keptUntil) .. body .. added)
    else
      call('SETRANGE', key, '0', policy.id .. pack(HEADER, log.shift, first, log.base, keptUntil))
      if added ~= '' then call('SETRANGE', key, to, added) end
      call('PEXPIRE', key, forgetsAfter(policy))
    end
  end

  -- The log as it stands now in a window: `time` is when it goes on, `total` what it holds.
  function Log.open(key, state, window)
    local shift, first, base, keptUntil = unpack(HEADER, state, BODY)
    local bytes = #state < FIRST_BYTES and #state or call('STRLEN', key)
    local log = setmetatable({
      key = key,
      state = state,
      isShort = #state == bytes,
      window = window,
      shift = shift,
      first = first,
      count = (bytes - HEADER_BYTES) / ENTRY_BYTES,
      base = base,
      keptUntil = keptUntil
    }, Log)
    log.last, log.sum = entryOf(log, log.count - 1)
    log.isSetBack = log.last + shift - now > window
    if log.isSetBack then log.shift = now - log.last end
    log.lastSeen = log.last + log.shift
    log.time = max(log.lastSeen, now)
    local live = firstSince(log, log.time - window + 1)
    if live > first then log.base, log.first = sumBefore(log, live), live end
    log.total = (log.sum - log.base) % WRAP
    return log
  end

  function Log.reset(log)
    return log.total == 0 and 0 or log.lastSeen + log.window - now
  end

  -- How long until the oldest entries that hold `amount` have left the window.
  function Log.untilFreed(log, amount)
    local low, high = log.first, log.count
    while low < high do
      local middle = floor((low + high) / 2)
      local _, sum = entryOf(log, middle)
      if (sum - log.base) % WRAP >= amount then high = middle else low = middle + 1 end
    end
    return low == log.count and 0 or entryOf(log, low) + log.shift + log.window - now
  end

  -- In a window longer than the one that it was kept for, what a log holds counts for longer.
  function Log.keepFor(log, policy)
    if log.lastSeen + policy.window <= log.keptUntil then return end
    call('SETRANGE', log.key, KEPT_UNTIL_OFFSET, pack('<d', now + forgetsAfter(policy)))
    call('PEXPIRE', log.key, forgetsAfter(policy))
  end

  function Log.keep(log, policy)
    save(log, policy, log.count, '')
  end

  function Log.append(log, policy, cost)
    local stored = log.time - log.shift
    local isOfLast = stored == log.last and log.count > log.first
    log.last, log.sum = stored, (log.sum + cost) % WRAP
    save(log, policy, isOfLast and log.count - 1 or log.count, pack(ENTRY, stored, log.sum))
  end

  -- Takes up to `amount` out of what was taken at `chargedAt`, as long as that counts. All entries since are written
  -- again, so a charge that more than this many came after stays as it is.
  local MOST_REWRITTEN = 4096
  function Log.giveBack(log, policy, chargedAt, amount)
    local first, count = log.first, log.count
    if first == count then return call('DEL', log.key) end
    local index = firstSince(log, chargedAt)
    if index == count or count - index > MOST_REWRITTEN then return log:keep(policy) end
    local stored, sum = entryOf(log, index)
    if stored + log.shift ~= chargedAt then return log:keep(policy) end
    local back = min(amount, (sum - sumBefore(log, index)) % WRAP)
    local entries = {}
    for later = index, count - 1 do
      stored, sum = entryOf(log, later)
      entries[#entries + 1] = pack(ENTRY, stored, (sum - back) % WRAP)
    end
    log.sum = (log.sum - back) % WRAP
    save(log, policy, index, table.concat(entries))
  end

  return Log
end

local Log
local function openLog(key, state, window)
  Log = Log or makeLog()
  return Log.open(key, state, window)
end
