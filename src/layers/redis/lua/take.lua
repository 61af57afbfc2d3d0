-- Takes all that a call demands, or none of it; call after call, each as if it were alone.
--
-- ARGV: the policies; then for each call its demands, as "policy cost", and before them how many they are unless it is
-- one. KEYS: one for each demand. The answer, in one list: for each call that was granted 1, and for each of its demands
-- what remains, until it is all back, when it was taken and what is owed; for each that was not 0, the wait, the demand
-- that has to wait so long, and for each demand what remains and until it is all back.

-- Whether `cost` is admitted; what remains; how long until it is all back. Then, if admitted, when, and what is owed; if
-- not, how long to wait. Last, what there is to write either way: the bytes of a state, and how far its clock is behind;
-- or a log, and what to append to it.
local function decide(policy, key, cost)
  local capacity, window = policy.capacity, policy.window
  local state = read(policy, key)
  if cost > capacity then
    local remaining, reset = inspect(policy, key, state)
    return false, remaining, reset, 0
  elseif not state then
    local reset, at, owed, bytes = occupied(policy, cost)
    return true, capacity - cost, reset, at, owed, bytes
  elseif isOfAnother(policy, state) then
    local used, untilUsed, isSetBack = usedOf(key, state)
    if used + cost <= capacity then
      local reset, at, owed, bytes = occupied(policy, used + cost)
      return true, capacity - used - cost, reset, at, owed, bytes
    end
    local moved = isSetBack and select(4, occupied(policy, min(used, capacity)))
    return false, max(0, capacity - used), untilUsed(0), untilUsed(capacity - cost), nil, moved
  elseif policy.algorithm == FIXED then
    local start, count, isSetBack = windowNow(policy, state)
    local reset = start + window - now
    if count + cost > capacity then
      local moved = isSetBack and policy.id .. pack(PAIR, start, count)
      return false, max(0, capacity - count), reset, reset, nil, moved
    end
    count = count + cost
    return true, capacity - count, reset, start, count, policy.id .. pack(PAIR, start, count)
  elseif policy.algorithm == LOG then
    local log = openLog(key, state, window)
    local excess = log.total + cost - capacity
    if excess > 0 then
      local moved = log.isSetBack and log
      -- In a window longer than the one that it was kept for, what it holds counts for longer.
      local _, _, keptFor = unpack(POLICY, state)
      if keptFor < window then call('PEXPIRE', key, policy.forgetsAfter) end
      return false, max(0, capacity - log.total), log:reset(), log:untilFreed(excess), nil, moved
    end
    return true, -excess, log.time + window - now, log.time, log.total + cost, log, cost
  end

  local at, before, isSetBack = bucketNow(policy, state)
  local limit, most, debt = policy.limit, capacity * window, before + cost * window
  local behind = at - now
  if debt > most then
    local moved = isSetBack and policy.id .. pack(PAIR, now, before)
    local remaining = max(0, floor((most - before) / window))
    return false, remaining, behind + ceil(before / limit), behind + ceil((debt - most) / limit), nil, moved
  end
  local bytes = policy.id .. pack(PAIR, at, debt)
  return true, floor((most - debt) / window), behind + ceil(debt / limit), at, debt, bytes, behind
end

local function commit(policy, key, state, more)
  if type(state) == 'string' then
    write(key, policy, state, more)
  elseif more then
    state:append(policy, more)
  else
    state:keep(policy)
  end
end

local policies, at = policiesOfCall()
local answer, said, taken = {}, 0, 0

-- Most demands of a script are alike, so each text is read once. Nothing for a text that is a number of demands.
local demands = {}
local function demandOf(text)
  local demand = demands[text]
  if demand == nil then
    local policy, cost = string.match(text, '^(%d+) (%d+)$')
    demand = policy ~= nil and { policy = policies[policy], cost = tonumber(cost) }
    demands[text] = demand
  end
  return demand
end

local function takeOne(demand)
  local key, policy = KEYS[taken + 1], demand.policy
  local isAdmitted, remaining, reset, third, owed, state, more = decide(policy, key, demand.cost)
  if state then commit(policy, key, state, more) end
  if isAdmitted then
    answer[said + 1], answer[said + 2], answer[said + 3], answer[said + 4], answer[said + 5] =
      1, remaining, reset, third, owed
  else
    answer[said + 1], answer[said + 2], answer[said + 3], answer[said + 4], answer[said + 5] =
      0, third, 0, remaining, reset
  end
  said = said + 5
end

local function say(...)
  for index = 1, select('#', ...) do answer[said + index] = select(index, ...) end
  said = said + select('#', ...)
end

local function takeAll(size)
  local decisions, areAdmitted, wait, refusedBy = {}, true, 0, 0
  for index = 1, size do
    local demand = demandOf(ARGV[at + index])
    local decision = { decide(demand.policy, KEYS[taken + index], demand.cost) }
    decision.policy = demand.policy
    decisions[index] = decision
    if not decision[1] then
      areAdmitted = false
      if decision[4] > wait then wait, refusedBy = decision[4], index - 1 end
    end
  end
  if areAdmitted then say(1) else say(0, wait, refusedBy) end
  for index = 1, size do
    local decision, key = decisions[index], KEYS[taken + index]
    local policy, state = decision.policy, decision[6]
    if decision[1] ~= areAdmitted then
      say(inspect(policy, key, read(policy, key)))
    else
      if state then commit(policy, key, state, decision[7]) end
      say(decision[2], decision[3])
      if areAdmitted then say(decision[4], decision[5]) end
    end
  end
end

while at <= #ARGV do
  local demand, size = demandOf(ARGV[at]), 1
  if demand then
    takeOne(demand)
    at = at + 1
  else
    size = tonumber(ARGV[at])
    takeAll(size)
    at = at + 1 + size
  end
  taken = taken + size
end
return answer
