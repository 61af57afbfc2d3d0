-- The automaton of src/resilience/circuit once more, with its states in Redis. What is decided, and why, is said there;
-- here is only what is Redis' own. Every number is a whole one below 2^53, which a Lua number holds exactly.
--
-- ARGV: how many settings there are, those; then for each step the number of its settings, the event, and what belongs
-- to it. KEYS: for each step the circuit, its window of calls, and the index of its breaker's circuits.
-- The answer: twelve numbers for each step.

local call, pack, read = redis.call, struct.pack, struct.unpack
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local time = call('TIME')
local instant = time[1] * 1000 + floor(time[2] / 1000)

local function text(number) return string.format('%.0f', number) end
local function number(word) return word == 'inf' and math.huge or tonumber(word) end

local STREAK, CALLS, TIME = 1, 2, 3
local CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, METRICS_ONLY = 1, 2, 3, 4, 7
local ADMITTED, REJECTED, SETTLED, LATE, CHANGED, LOOKED = 1, 2, 3, 4, 5, 6
local SUCCESS, FAILURE = 1, 2

local LEASE, BUCKET = '<dd', '<dddd'

-- What a circuit consists of. `last` and `skew` make a clock of it that does not run backwards; `form` tells with which
-- kind and size of window the rest was counted: one of another form says nothing.
local FIELDS = {
  'state', 'generation', 'since', 'last', 'skew', 'form', 'until', 'openings', 'nextProbe', 'successes',
  'failures', 'calls', 'slow', 'position', 'index', 'nowCalls', 'nowFailures', 'nowSlow'
}

local function formOf(settings) return settings.kind * 2 ^ 40 + settings.size end

local function clearWindow(circuit, settings)
  circuit.form = formOf(settings)
  circuit.failures, circuit.calls, circuit.slow, circuit.position = 0, 0, 0, 0
  circuit.index, circuit.nowCalls, circuit.nowFailures, circuit.nowSlow = -1, 0, 0, 0
  circuit.older = ''
  circuit.isWindowNew = true
end

local function enter(circuit, settings, state, generation, now)
  circuit.state, circuit.generation, circuit.since = state, generation, now
  circuit['until'], circuit.nextProbe, circuit.successes, circuit.leases = 0, 1, 0, ''
  circuit.isMoved = true
  clearWindow(circuit, settings)
end

local function fresh(settings)
  local circuit = { openings = 0, last = instant, skew = 0 }
  enter(circuit, settings, CLOSED, max(1, time[1] * 1000000 + tonumber(time[2])), instant)
  return circuit
end

local function load(key, settings)
  local values = call('HMGET', key, 'leases', 'older', unpack(FIELDS))
  if not values[3] then return nil end
  local circuit = { leases = values[1] or '', older = values[2] or '' }
  for at, field in ipairs(FIELDS) do circuit[field] = tonumber(values[at + 2] or 0) end
  if circuit.form ~= formOf(settings) then clearWindow(circuit, settings) end
  return circuit
end

-- A circuit that an operator holds is kept until the operator lets go; every other for some time after its last use.
local function keepFor(circuit, settings, now)
  if circuit.state >= FORCED_OPEN then return nil end
  local open = circuit.state == OPEN and circuit['until'] - now + settings.stable or 0
  return max(settings.forgetsAfter, open)
end

local function keep(keys, circuit, settings, now)
  local millis = keepFor(circuit, settings, now)
  if millis then
    call('PEXPIRE', keys.circuit, text(millis))
    call('PEXPIRE', keys.window, text(millis))
    call('ZADD', keys.index, text(instant + millis), keys.circuit)
  else
    call('PERSIST', keys.circuit)
    call('PERSIST', keys.window)
    call('ZADD', keys.index, '+inf', keys.circuit)
  end
end

-- A new circuit may cost an old one its place: the one that would be forgotten first, but none that an operator holds.
local function makeRoom(keys, settings)
  call('ZREMRANGEBYSCORE', keys.index, '-inf', text(instant))
  if call('ZCARD', keys.index) < settings.most then return end
  local first = call('ZRANGE', keys.index, 0, 0, 'WITHSCORES')
  if not first[1] or first[2] == 'inf' then return end
  -- Names begin with c for circuits and with w for their windows.
  call('DEL', first[1], 'w' .. string.sub(first[1], 2))
  call('ZREM', keys.index, first[1])
end

local function store(keys, circuit, settings, now, isNew)
  local words = { 'leases', circuit.leases, 'older', circuit.older }
  for _, field in ipairs(FIELDS) do
    words[#words + 1] = field
    words[#words + 1] = text(circuit[field])
  end
  if isNew then makeRoom(keys, settings) end
  call('HSET', keys.circuit, unpack(words))
  if circuit.isWindowNew then call('DEL', keys.window) end
  if isNew or circuit.isMoved then keep(keys, circuit, settings, now) end
end

-- The window of time as it stands now: what is too old has gone. Sums of the older buckets are in `calls` and so on.
local function advance(circuit, settings, now)
  local index = floor(now / settings.size)
  if circuit.index < 0 then
    circuit.index = index
    return
  end
  if index <= circuit.index then return end
  local older = {}
  for at = 1, #circuit.older, 32 do
    older[#older + 1] = { read(BUCKET, circuit.older, at) }
  end
  if circuit.nowCalls > 0 then
    older[#older + 1] = { circuit.index, circuit.nowCalls, circuit.nowFailures, circuit.nowSlow }
  end
  local left = {}
  circuit.calls, circuit.failures, circuit.slow = 0, 0, 0
  for _, bucket in ipairs(older) do
    if bucket[1] > index - settings.buckets then
      left[#left + 1] = pack(BUCKET, bucket[1], bucket[2], bucket[3], bucket[4])
      circuit.calls = circuit.calls + bucket[2]
      circuit.failures = circuit.failures + bucket[3]
      circuit.slow = circuit.slow + bucket[4]
    end
  end
  circuit.older = table.concat(left)
  circuit.index, circuit.nowCalls, circuit.nowFailures, circuit.nowSlow = index, 0, 0, 0
end

-- Calls, failures and slow calls in the window.
local function totals(circuit, settings, now)
  if settings.kind == STREAK then return circuit.failures, circuit.failures, 0 end
  if settings.kind == CALLS then return circuit.calls, circuit.failures, circuit.slow end
  advance(circuit, settings, now)
  return circuit.calls + circuit.nowCalls, circuit.failures + circuit.nowFailures, circuit.slow + circuit.nowSlow
end

-- Answers whether there was anything to record.
local function record(keys, circuit, settings, failed, slow, now)
  if settings.kind == STREAK then
    if failed == 0 and circuit.failures == 0 then return false end
    circuit.failures = failed == 0 and 0 or circuit.failures + 1
  elseif settings.kind == TIME then
    advance(circuit, settings, now)
    circuit.nowCalls = circuit.nowCalls + 1
    circuit.nowFailures = circuit.nowFailures + failed
    circuit.nowSlow = circuit.nowSlow + slow
  else
    if circuit.isWindowNew then
      call('DEL', keys.window)
      circuit.isWindowNew = false
    end
    local position = circuit.position
    if circuit.calls == settings.size then
      local oldest = (string.byte(call('GETRANGE', keys.window, position, position)) or 48) - 48
      circuit.failures = circuit.failures - oldest % 2
      circuit.slow = circuit.slow - floor(oldest / 2)
    else
      circuit.calls = circuit.calls + 1
    end
    circuit.failures, circuit.slow = circuit.failures + failed, circuit.slow + slow
    local isFirst = circuit.calls == 1 and position == 0
    call('SETRANGE', keys.window, position, string.char(48 + failed + 2 * slow))
    if isFirst then
      local millis = keepFor(circuit, settings, now)
      if millis then call('PEXPIRE', keys.window, text(millis)) end
    end
    circuit.position = (position + 1) % settings.size
  end
  return true
end

local function trips(circuit, settings, now)
  if settings.kind == STREAK then return circuit.failures >= settings.failures end
  local calls, failures, slow = totals(circuit, settings, now)
  return calls >= settings.minimum and (failures / calls >= settings.failureRate or slow / calls >= settings.slowRate)
end

local function open(circuit, settings, now)
  circuit.openings = circuit.openings + 1
  local openings = circuit.openings
  enter(circuit, settings, OPEN, circuit.generation + 1, now)
  circuit['until'] = now + min(settings.mostOpen, ceil(settings.open * settings.growth ^ (openings - 1)))
end

-- The leases of others than `probe` that still hold at `now`, how many, and when the first of them ends.
local function leasesWithout(circuit, probe, now)
  local left, first = {}, math.huge
  for at = 1, #circuit.leases, 16 do
    local one, ends = read(LEASE, circuit.leases, at)
    if one ~= probe and ends > now then
      left[#left + 1] = pack(LEASE, one, ends)
      first = min(first, ends)
    end
  end
  return table.concat(left), #left, first
end

local function probe(circuit, settings, now)
  local leases, running, first = leasesWithout(circuit, 0, now)
  if running >= settings.probes then return REJECTED, first - now, 0, false end
  local number = circuit.nextProbe
  circuit.leases = leases .. pack(LEASE, number, now + settings.lease)
  circuit.nextProbe = number + 1
  return ADMITTED, circuit.generation, number, true
end

-- Each of these answers with the decision, its two numbers, and whether the circuit has changed.
local function admit(circuit, settings, now)
  local state = circuit.state
  if state == OPEN then
    if now < circuit['until'] then return REJECTED, circuit['until'] - now, 0, false end
    enter(circuit, settings, HALF_OPEN, circuit.generation + 1, now)
    return probe(circuit, settings, now)
  elseif state == HALF_OPEN then
    return probe(circuit, settings, now)
  elseif state == FORCED_OPEN then
    return REJECTED, -1, 0, false
  end
  return ADMITTED, circuit.generation, 0, false
end

local function settle(keys, circuit, settings, permit, outcome, took, now)
  if permit.generation ~= circuit.generation then return LATE, 0, 0, false end
  local counts = outcome == SUCCESS or outcome == FAILURE
  local failed, slow = outcome == FAILURE and 1 or 0, took >= settings.slowAfter and 1 or 0
  local state = circuit.state
  if state == CLOSED then
    if not counts then return SETTLED, 0, 0, false end
    local isRecorded = record(keys, circuit, settings, failed, slow, now)
    if trips(circuit, settings, now) then
      if now - circuit.since >= settings.stable then circuit.openings = 0 end
      open(circuit, settings, now)
    end
    return SETTLED, 0, 0, isRecorded or circuit.isMoved
  elseif state == HALF_OPEN then
    circuit.leases = leasesWithout(circuit, permit.probe, now)
    if counts then
      if failed + slow > 0 then
        open(circuit, settings, now)
      else
        circuit.successes = circuit.successes + 1
        if circuit.successes >= settings.successes then
          enter(circuit, settings, CLOSED, circuit.generation + 1, now)
        end
      end
    end
    return SETTLED, 0, 0, true
  elseif state == METRICS_ONLY and counts then
    return SETTLED, 0, 0, record(keys, circuit, settings, failed, slow, now)
  end
  return SETTLED, 0, 0, false
end

local settingsOf, at = {}, 2
for index = 1, tonumber(ARGV[1]) do
  local word = function(offset) return number(ARGV[at + offset]) end
  settingsOf[index] = {
    kind = word(0), size = word(1), buckets = word(2), failures = word(3), minimum = word(4), failureRate = word(5),
    slowRate = word(6), slowAfter = word(7), open = word(8), growth = word(9), mostOpen = word(10), stable = word(11),
    probes = word(12), successes = word(13), lease = word(14), forgetsAfter = word(15), most = word(16)
  }
  at = at + 17
end

local answer = {}
for index = 1, #KEYS, 3 do
  local keys = { circuit = KEYS[index], window = KEYS[index + 1], index = KEYS[index + 2] }
  local settings, event = settingsOf[tonumber(ARGV[at])], ARGV[at + 1]
  at = at + 2
  local circuit = load(keys.circuit, settings)
  local isNew = circuit == nil and event ~= 'look'
  local isKnown = circuit ~= nil or isNew
  circuit = circuit or fresh(settings)
  circuit.isMoved = isNew
  if instant < circuit.last then circuit.skew = circuit.skew + circuit.last - instant end
  circuit.last = instant
  local now = instant + circuit.skew
  local before, beforeGeneration = circuit.state, circuit.generation

  local decision, one, other, isChanged = LOOKED, 0, 0, false
  if event == 'admit' then
    decision, one, other, isChanged = admit(circuit, settings, now)
  elseif event == 'settle' then
    local permit = { generation = tonumber(ARGV[at]), probe = tonumber(ARGV[at + 1]) }
    decision, one, other, isChanged =
      settle(keys, circuit, settings, permit, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), now)
    at = at + 4
  elseif event == 'force' then
    enter(circuit, settings, tonumber(ARGV[at]), circuit.generation + 1, now)
    decision, isChanged = CHANGED, true
    at = at + 1
  elseif event == 'reset' then
    circuit.openings = 0
    enter(circuit, settings, CLOSED, circuit.generation + 1, now)
    decision, isChanged = CHANGED, true
  end
  if isChanged or isNew then
    store(keys, circuit, settings, now, isNew)
  elseif event ~= 'look' then
    -- What is used is kept, without a write for every use.
    local left = call('PTTL', keys.circuit)
    if left >= 0 and left < settings.forgetsAfter / 2 then keep(keys, circuit, settings, now) end
  end

  local calls, failures, slow = 0, 0, 0
  if circuit.state == CLOSED or circuit.state >= FORCED_OPEN then calls, failures, slow = totals(circuit, settings, now) end
  local isOpen = circuit.state == OPEN
  for _, word in ipairs({
    decision, one, other, before, isKnown and beforeGeneration or 0, circuit.state, isKnown and circuit.generation or 0,
    max(0, now - circuit.since), isOpen and max(0, circuit['until'] - now) or -1, calls, failures, slow
  }) do
    answer[#answer + 1] = word
  end
end
return answer
